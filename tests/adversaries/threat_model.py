"""Checks the threat model in exact arithmetic, independently of the package's code."""

from fractions import Fraction


def assert_admitted(norm, epsilon, images, delta):
    """Assert that no perturbation (N, ...) is longer than epsilon and no pixel leaves [0, 1]."""
    assert delta.isfinite().all()
    assert (images + delta).min().item() >= 0
    assert (images + delta).max().item() <= 1
    for one in delta.flatten(1).tolist():
        if norm == "linf":
            assert max(map(abs, one)) <= epsilon
        else:
            assert sum(Fraction(value) ** 2 for value in one) <= Fraction(epsilon) ** 2
