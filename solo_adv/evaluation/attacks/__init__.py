"""Attacks on a classifier, and the judging of the images that they find."""
