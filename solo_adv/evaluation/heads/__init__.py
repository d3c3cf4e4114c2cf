"""Classifiers of features: kNN, linear heads, and encoder and head fine-tuned together."""
