"""Side-by-side measurements: each prints and stores ratios against the naive way."""
