"""Accuracy on the common corruptions of Hendrycks and Dietterich 2019, stored or generated."""
