"""Intervals of accuracies against SciPy's, and against chance itself."""

import math

import pytest
from scipy.stats import binom, binomtest

from solo_adv.report.uncertainty import in_words, margin, standard_error, wilson


@pytest.mark.parametrize(
    ("correct", "total"), [(0, 50), (50, 50), (1, 3), (28, 500), (9_000, 10_000)]
)
def test_wilson_is_scipys(correct, total):
    found = wilson(correct / total, total)
    expected = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    assert found == pytest.approx(tuple(expected), abs=1e-6)
    assert found[0] <= correct / total <= found[1]


def test_it_is_no_point_where_the_standard_error_is_zero():
    assert standard_error(0.0, 50) == 0
    low, high = wilson(0.0, 50)
    assert low == 0
    assert high == pytest.approx(0.0713, abs=1e-3)


def test_in_words():
    assert in_words((0.1, 0.25)) == "10.00 to 25.00"


def test_an_intact_model_is_seldom_called_different():
    """Of all outcomes with 50 images of a model that is right on 28 of 500, few are refused."""
    refused = 0.0
    for correct in range(51):
        now = correct / 50
        allowed = max(margin((0.056, 500), (now, 50), 3.0), 1 / 50)
        if abs(now - 0.056) > allowed:
            refused += binom.pmf(correct, 50, 0.056)
    assert refused < 0.01
    assert abs(0 - 0.056) <= margin((0.056, 500), (0.0, 50), 3.0)


def test_a_broken_model_is_called_different():
    assert abs(0.1 - 0.6) > margin((0.6, 500), (0.1, 50), 3.0)
    assert abs(0.1 - 0.056) > margin((0.056, 10_000), (0.1, 10_000), 3.0)


def test_the_margin_of_many_images_is_that_of_the_normal_distribution():
    error = math.sqrt(0.5 * 0.5 / 10_000 + 0.52 * 0.48 / 10_000)
    assert margin((0.5, 10_000), (0.52, 10_000), 3.0) == pytest.approx(3 * error, rel=1e-3)
