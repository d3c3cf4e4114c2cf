"""Reports as pages for a browser: each is one file, and needs no network."""
