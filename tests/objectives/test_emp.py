"""The EMP objective agrees with brute force in float64: value, sign, gradient, precision."""

import pytest
import torch
import torch.nn.functional as F

from solo_adv import UserError
from solo_adv.objectives import EMP, Update, emp_loss, total_coding_rate


def brute_force(z, invariance_weight=200.0, tcr_eps=0.2):
    """Compute the paper's formulas view by view, with D x D determinants from eigenvalues."""
    views, batch, dim = z.shape
    mean = z.mean(0)
    cosine = torch.zeros((), dtype=z.dtype)
    rate = torch.zeros((), dtype=z.dtype)
    for view in z:
        for embedding, centre in zip(view, mean, strict=True):
            cosine = cosine + embedding @ centre / (embedding.norm() * centre.norm())
        covariance = torch.eye(dim, dtype=z.dtype) + dim / (batch * tcr_eps) * view.T @ view
        rate = rate + 0.5 * torch.linalg.eigvalsh(covariance).log().sum()
    cosine, rate = cosine / (views * batch), rate / views
    return -(invariance_weight * cosine + rate), cosine, rate


def embeddings(views, batch, dim, *, collapsed=False):
    generator = torch.Generator().manual_seed(views * 1000 + batch * 10 + dim)
    z = torch.randn(views, batch, dim, dtype=torch.float64, generator=generator)
    if collapsed:
        z = torch.ones_like(z) + 1e-3 * z
    return F.normalize(z, dim=-1)


SHAPES = [(2, 5, 9), (4, 9, 5), (3, 6, 6), (8, 3, 16)]


@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_value_and_gradient_equal_brute_force(shape, collapsed):
    z = embeddings(*shape, collapsed=collapsed).requires_grad_()
    ours, expected = emp_loss(z), brute_force(z)
    for name, one, other in zip(ours._fields, ours, expected, strict=True):
        torch.testing.assert_close(one, other, msg=lambda m, n=name: f"{n}: {m}")
    (gradient,) = torch.autograd.grad(ours.total, z, retain_graph=True)
    (expected_gradient,) = torch.autograd.grad(expected[0], z)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("weight", [0.0, 3.0])
@pytest.mark.parametrize("tcr_eps", [0.2, 0.01])
def test_settings_enter_the_formula(weight, tcr_eps):
    z = embeddings(3, 4, 7)
    torch.testing.assert_close(
        emp_loss(z, weight, tcr_eps).total, brute_force(z, weight, tcr_eps)[0]
    )
    settings = EMP(invariance_weight=weight, tcr_eps=tcr_eps)
    torch.testing.assert_close(
        settings(Update(z, torch.zeros(len(z), dtype=torch.bool), torch.zeros(4))).total,
        brute_force(z, weight, tcr_eps)[0],
    )


def test_gradient_by_finite_differences():
    z = embeddings(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: emp_loss(x).total, (z,))


def test_collapse_costs_more_than_spread():
    # Crops of an image are equal in both. Images differ in the first and are equal in the second.
    images = embeddings(1, 20, 32)
    spread = images.expand(4, -1, -1)
    collapsed = images[:, :1].expand(4, 20, -1)
    assert emp_loss(spread).total < emp_loss(collapsed).total
    torch.testing.assert_close(emp_loss(spread).invariance.item(), 1.0)


def test_crops_that_disagree_cost_more():
    spread = embeddings(1, 20, 32).expand(4, -1, -1)
    shuffled = torch.stack([view.roll(shift, 0) for shift, view in enumerate(spread)])
    assert emp_loss(shuffled).coding_rate == pytest.approx(emp_loss(spread).coding_rate.item())
    assert emp_loss(shuffled).total > emp_loss(spread).total


def test_minimising_spreads_the_images():
    torch.manual_seed(0)
    z = (torch.ones(2, 16, 8) + 0.05 * torch.randn(2, 16, 8)).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.1)
    before = _effective_rank(z)
    for _ in range(60):
        optimizer.zero_grad()
        emp_loss(F.normalize(z, dim=-1)).total.backward()
        optimizer.step()
    assert _effective_rank(z) > max(4.0, 2 * before)


def _effective_rank(z):
    spectrum = torch.linalg.svdvals(F.normalize(z.detach(), dim=-1)[0])
    p = spectrum / spectrum.sum()
    return torch.exp(-(p * p.clamp_min(1e-12).log()).sum()).item()


def test_both_sides_of_the_gram_matrix_agree():
    wide, tall = embeddings(1, 5, 12)[0], embeddings(1, 12, 5)[0]
    for z in (wide, tall):
        batch, dim = z.shape
        other_side = 0.5 * torch.logdet(torch.eye(batch).double() + dim / (batch * 0.2) * z @ z.T)
        torch.testing.assert_close(total_coding_rate(z), other_side)


def test_order_of_crops_does_not_matter():
    z = embeddings(5, 6, 7)
    torch.testing.assert_close(emp_loss(z).total, emp_loss(z.flip(0)).total)


def test_float32_under_autocast():
    z = embeddings(4, 32, 64).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = emp_loss(z)
    plain = emp_loss(z)
    assert mixed.total.dtype == torch.float32
    torch.testing.assert_close(mixed.total, plain.total, rtol=0, atol=0)
    assert emp_loss(z.bfloat16()).total.dtype == torch.float32


def test_non_finite_embeddings_show():
    z = embeddings(2, 4, 8)
    z[0, 0, 0] = float("nan")
    assert not torch.isfinite(emp_loss(z).total)


@pytest.mark.parametrize(
    ("z", "settings", "words"),
    [
        (torch.zeros(4, 8), {}, "(V, B, D)"),
        (torch.zeros(1, 4, 8), {}, "crops.num_crops"),
        (torch.zeros(2, 4, 8), {"tcr_eps": 0.0}, "tcr_eps"),
    ],
)
def test_errors_say_what_to_do(z, settings, words):
    with pytest.raises(UserError, match=words.replace("(", r"\(").replace(")", r"\)")):
        emp_loss(z, **settings)


@pytest.mark.parametrize("settings", [{"tcr_eps": 0}, {"invariance_weight": -1}])
def test_objective_refuses_bad_settings(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        EMP(**settings)
