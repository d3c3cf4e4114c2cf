"""Benchmarks: each prints and stores ratios against a naive implementation."""
