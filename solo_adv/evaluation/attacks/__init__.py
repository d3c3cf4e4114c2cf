"""Attacks on a classifier, and the verdict over what they find."""
