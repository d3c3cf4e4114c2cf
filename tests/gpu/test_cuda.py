"""CUDA agrees with the CPU, and bfloat16 with float32; no call makes the CPU wait.

These tests are the first item of the GPU list (``benchmarks/gpu``). Without a GPU, the tests that
compare devices compare the CPU with itself, which shows that they run.
"""

import pytest
import torch
from torch import Tensor

from solo_adv.adversaries import PGD
from solo_adv.cost.rehearsal import RehearsedStep
from solo_adv.crops import CropSpec, build
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation import Bench, evaluate_pgd
from solo_adv.evaluation.attacks.crafting import Crafting
from solo_adv.host.standalone import METHODS
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg
from tests.taught import taught

HAS_CUDA = torch.cuda.is_available()
ON_CUDA = pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
DEVICE = "cuda" if HAS_CUDA else "cpu"
BATCH = 16
PROJECTOR = ("method_kwargs.proj_hidden_dim=64",)
ALL_METHODS = sorted(METHODS)


@pytest.fixture(autouse=True)
def exact_float32():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


def step(method: str, device: str, *overrides: str, ready_crops: bool = True) -> RehearsedStep:
    """Make a small step of a method, with the same weights on every device."""
    cfg = parse_cfg(
        composed(
            method,
            [
                *("data=digits", f"optimizer.batch_size={BATCH}", "backbone.kwargs.width=8"),
                "precision=32-true",
                *(PROJECTOR if METHODS[method].objective_class.projector else ()),
                *(*taught(method), *overrides),
            ],
        )
    )
    cfg.data.num_classes = 10
    torch.manual_seed(3)
    return RehearsedStep(cfg, BATCH, device=device, ready_crops=ready_crops)


def loss_and_gradient(method: str, device: str, *overrides: str) -> tuple[float, Tensor]:
    """Loss and gradient, as one vector, of a pass of crops that are the same on every device."""
    made = step(method, device, *overrides)
    spec, _ = made.method.crop_settings(made.method.cfg)
    generator = torch.Generator().manual_seed(1)
    crops = torch.rand(spec.num_crops * BATCH, 3, spec.size, spec.size, generator=generator)
    with torch.autocast(device, torch.bfloat16, enabled=made.precision == "bf16-mixed"):
        batch = made.method.batch_of(crops.to(device), made.batch[2])
        twins = made.method.objective.needs_twins
        delta = torch.zeros_like(batch.attacked) if twins else None
        _, update = made.method.updated(batch, delta)
        loss = made.method.objective(update).total
    loss.backward()
    gradients = [p.grad for p in made.method.backbone.parameters() if p.grad is not None]
    return loss.item(), torch.cat([g.double().cpu().flatten() for g in gradients])


@pytest.mark.parametrize("method", ALL_METHODS)
def test_loss_and_gradients_agree_with_the_cpu(method):
    expected, direction = loss_and_gradient(method, "cpu")
    loss, gradient = loss_and_gradient(method, DEVICE)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert (gradient - direction).norm() < 0.01 * direction.norm()


@pytest.mark.parametrize("method", ALL_METHODS)
def test_bfloat16_learns_the_same(method):
    expected, direction = loss_and_gradient(method, DEVICE)
    loss, gradient = loss_and_gradient(method, DEVICE, "precision=bf16-mixed")
    assert loss == pytest.approx(expected, rel=0.02)
    assert loss != expected
    assert torch.cosine_similarity(gradient, direction, dim=0) > 0.9


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("method", ALL_METHODS)
def test_a_step_moves_the_weights_and_keeps_them_finite(method, precision):
    made = step(method, DEVICE, f"precision={precision}", ready_crops=False)
    before = [p.detach().clone() for p in made.method.parameters()]
    for _ in range(2):
        made()
    after = list(made.method.parameters())
    assert all(p.isfinite().all() for p in after)
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert all(p.device.type == DEVICE for p in after)


@ON_CUDA
@pytest.mark.parametrize("method", ALL_METHODS)
def test_a_step_never_makes_the_cpu_wait(method):
    made = step(method, "cuda", "precision=bf16-mixed", ready_crops=False)
    made()  # the first step makes plans and workspaces
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        made()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_crops_agree_with_the_cpu():
    images = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    spec = CropSpec.preset("multi_crop", num_crops=4, size=32)
    expected = build(spec, seed=5)(images)
    made = build(spec, seed=5)(images.to(DEVICE)).cpu()
    assert made.shape == expected.shape
    # Rounding may move a pixel across a border between sectors of the hue, or of solarising.
    assert ((made - expected).abs() > 1e-3).float().mean() < 1e-3


def test_an_attack_agrees_with_the_cpu():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(10, 3, 8, 8, generator=generator)
    images = torch.rand(64, 3, 8, 8, generator=generator)

    def perturbation(device):
        moved = weight.to(device)

        def loss_of(x):
            logits = torch.einsum("nchw,kchw->nk", x, moved)
            return logits.logsumexp(1).sum()

        return PGD(8 / 255, 0.01, 5, batch_norm="eval").perturb(images.to(device), loss_of)

    difference = (perturbation(DEVICE).cpu() - perturbation("cpu")).abs()
    assert (difference > 1e-6).float().mean() < 1e-3


@pytest.mark.parametrize("crafting", [Crafting(), Crafting(precision="bf16-mixed")])
def test_an_evaluation_agrees_with_the_cpu(crafting):
    from solo_adv.data import ImageSet  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (100, 3, 8, 8), generator=generator).to(torch.uint8)
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten()
    )
    classifier = Classifier(encoder, torch.nn.Linear(8 * 64, 10))
    with torch.no_grad():
        labels = classifier(images / 255).argmax(1)
    image_set = ImageSet("noise", labels, tuple("0123456789"), images=images)
    expected = evaluate_pgd(Bench(classifier, image_set), epsilon="1/255", steps=3)
    found = evaluate_pgd(
        Bench(classifier.to(DEVICE), image_set, device=DEVICE, crafting=crafting),
        epsilon="1/255",
        steps=3,
    )
    assert 0 < expected.correct < 100
    assert abs(found.correct - expected.correct) <= 2
