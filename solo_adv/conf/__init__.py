"""Hydra configs: a file a method, and the groups data and crops."""
