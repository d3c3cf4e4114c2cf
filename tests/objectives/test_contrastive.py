"""NT-Xent and SupCon agree with brute force in float64, for any number of views."""

import math

import pytest
import torch
import torch.nn.functional as F

from solo_adv import UserError
from solo_adv.objectives import NTXent, Supervised, Update, nt_xent, sup_con


def brute_force(z, labels, temperature):
    """Compute the formula of Khosla et al. anchor by anchor, in plain Python loops."""
    views, batch, _ = z.shape
    flat = [z[v, b] / z[v, b].norm() for v in range(views) for b in range(batch)]
    classes = [labels[b].item() for _ in range(views) for b in range(batch)]
    losses = []
    for i, anchor in enumerate(flat):
        others = [k for k in range(len(flat)) if k != i]
        denominator = sum(torch.exp(anchor @ flat[k] / temperature) for k in others)
        positives = [k for k in others if classes[k] == classes[i]]
        terms = [
            torch.log(torch.exp(anchor @ flat[p] / temperature) / denominator) for p in positives
        ]
        losses.append(-sum(terms) / len(terms))
    return sum(losses) / len(losses)


def embeddings(views, batch, dim=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(views, batch, dim, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize(("views", "batch"), [(2, 4), (3, 3), (5, 2)])
def test_sup_con_equals_brute_force(views, batch, temperature):
    z = embeddings(views, batch).requires_grad_()
    labels = torch.tensor([0, 1, 0, 2])[:batch]
    ours, expected = sup_con(z, labels, temperature).total, brute_force(z, labels, temperature)
    torch.testing.assert_close(ours, expected)
    (gradient,) = torch.autograd.grad(ours, z)
    (expected_gradient,) = torch.autograd.grad(expected, z)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("views", [2, 4])
def test_nt_xent_equals_brute_force(views):
    z = embeddings(views, 3)
    expected = brute_force(z, torch.arange(3), 0.2)
    torch.testing.assert_close(nt_xent(z, 0.2).total, expected)
    update = Update(z, torch.zeros(2, dtype=torch.bool), torch.zeros(3))
    torch.testing.assert_close(NTXent(temperature=0.2)(update).total, expected)
    torch.testing.assert_close(NTXent(temperature=0.2).crafting(update), expected)


def test_nt_xent_is_cross_entropy_over_the_other_views():
    z = F.normalize(embeddings(2, 5), dim=-1)
    flat = z.flatten(0, 1)
    logits = (flat @ flat.T / 0.07).fill_diagonal_(-math.inf)
    partner = torch.arange(10).roll(5)
    torch.testing.assert_close(nt_xent(z).total, F.cross_entropy(logits, partner))


def test_unlabelled_images_have_their_own_views_only():
    z = embeddings(2, 4)
    labels = torch.tensor([0, -1, 0, -1])
    expected = brute_force(z, torch.tensor([0, 7, 0, 8]), 0.07)
    torch.testing.assert_close(sup_con(z, labels).total, expected)


def test_agreement_costs_less_and_collapse_more():
    images = embeddings(1, 6)
    agreeing = images.expand(2, -1, -1)
    collapsed = images[:, :1].expand(2, 6, -1)
    assert nt_xent(agreeing).total < nt_xent(embeddings(2, 6, seed=1)).total
    assert nt_xent(collapsed).total.item() == pytest.approx(math.log(11), rel=1e-6)
    assert nt_xent(agreeing).positive_similarity.item() == pytest.approx(1.0)


def test_float32_under_autocast():
    z = embeddings(2, 8).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = nt_xent(z).total
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, nt_xent(z).total, rtol=0, atol=0)


def test_cross_entropy_takes_logits_of_every_view_and_skips_unlabelled():
    logits = embeddings(3, 4, dim=5).float()
    targets = torch.tensor([0, -1, 3, 4])
    objective = Supervised(loss="cross_entropy")
    kept = logits[:, targets >= 0].flatten(0, 1)
    expected = F.cross_entropy(kept, targets[targets >= 0].repeat(3))
    torch.testing.assert_close(
        objective(Update(logits, torch.zeros(len(logits), dtype=torch.bool), targets)).total,
        expected,
    )
    assert objective.min_views == 1
    assert objective.on_logits
    assert not Supervised().on_logits


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nt_xent(torch.zeros(4, 8)), r"\(V, B, D\)"),
        (lambda: nt_xent(torch.zeros(1, 4, 8)), "at least 2 views"),
        (lambda: nt_xent(torch.zeros(2, 4, 8), 0.0), "temperature"),
        (lambda: NTXent(temperature=-1), "temperature"),
        (lambda: Supervised(loss="hinge"), "cross_entropy"),
    ],
)
def test_errors_say_what_is_accepted(make, words):
    with pytest.raises(UserError, match=words):
        make()
