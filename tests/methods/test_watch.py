"""The effective rank, and the warning if embeddings collapse."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from solo_adv.methods.watch import CollapseWatch, effective_rank


@pytest.mark.parametrize(("batch", "dim"), [(4, 9), (9, 4)])
def test_orthogonal_directions_count_one_each(batch, dim):
    z = torch.zeros(batch, dim)
    z[range(batch), [i % 3 for i in range(batch)]] = 1.0
    norms = torch.tensor([math.sqrt(sum(i % 3 == k for i in range(batch))) for k in range(3)])
    share = norms / norms.sum()
    expected = math.exp(-(share * share.log()).sum())
    assert effective_rank(z).item() == pytest.approx(expected, rel=1e-6)


def test_embeddings_in_one_direction_have_rank_one():
    z = torch.linspace(1, 3, 8)[:, None] * torch.randn(1, 16)
    assert effective_rank(z).item() == pytest.approx(1, abs=1e-3)


def test_non_finite_embeddings_do_not_crash():
    assert torch.isnan(effective_rank(torch.full((3, 4), float("nan"))))


def collapsed():
    generator = torch.Generator().manual_seed(0)
    return F.normalize(torch.ones(32, 16) + 1e-3 * torch.randn(32, 16, generator=generator), dim=1)


def warnings_of(readings):
    watch = CollapseWatch()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for z, beginning in readings:
            watch.read(z, beginning=beginning)
    return [str(warning.message) for warning in caught]


def test_a_collapse_is_reported_once_with_advice():
    (message,) = warnings_of([(collapsed(), False)] * 4)
    assert "collapsed" in message
    assert "optimizer.lr" in message


def test_no_warning_at_the_beginning_or_for_spread_embeddings():
    spread = F.normalize(torch.randn(32, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    assert not warnings_of([(collapsed(), True)] * 4)
    assert not warnings_of([(spread, False)] * 4)
    assert not warnings_of([(collapsed(), False), (spread, False), (collapsed(), False)])
