"""The threat model checked without the code that keeps it, in exact arithmetic."""

from fractions import Fraction


def assert_admitted(norm, epsilon, images, delta):
    """No perturbation (N, ...) longer than epsilon and no pixel outside [0, 1], not by a bit."""
    assert delta.isfinite().all()
    assert (images + delta).min().item() >= 0
    assert (images + delta).max().item() <= 1
    for one in delta.flatten(1).tolist():
        if norm == "linf":
            assert max(map(abs, one)) <= epsilon
        else:
            assert sum(Fraction(value) ** 2 for value in one) <= Fraction(epsilon) ** 2
