"""Crops, attacks and verdicts on the device agree with those on the CPU."""

import pytest
import torch

from solo_adv import load_pretrained
from solo_adv.adversaries import PGD
from solo_adv.crops import CropSpec, build
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation import Bench, evaluate_pgd
from solo_adv.evaluation.attacks.crafting import Crafting
from tests.device.devices import never_waiting


@pytest.mark.parametrize(("chunk", "pad"), [(None, 0), (5, 0), (None, 0.125)])
def test_crops_agree_with_the_cpu_and_are_cut_without_waiting(device, chunk, pad):
    images = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    images = images.to(torch.uint8)
    spec = CropSpec.preset("multi_crop", num_crops=4, size=16, pad=pad)
    expected = build(spec, seed=5, chunk=chunk)(images)
    crops, sent = build(spec, seed=5, chunk=chunk), images.to(device)
    with never_waiting(device):
        made = crops(sent)
    assert made.device.type == device
    assert made.shape == expected.shape
    # Rounding may move a pixel across a border between sectors of the hue, or of solarising.
    assert ((made.cpu() - expected).abs() > 1e-3).float().mean() < 1e-3


def test_an_attack_agrees_with_the_cpu(device):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(10, 3, 8, 8, generator=generator)
    images = torch.rand(64, 3, 8, 8, generator=generator)

    def perturbation(device):
        moved = weight.to(device)

        def loss_of(x):
            logits = torch.einsum("nchw,kchw->nk", x, moved)
            return logits.logsumexp(1).sum()

        return PGD(8 / 255, 0.01, 5, batch_norm="eval").perturb(images.to(device), loss_of)

    difference = (perturbation(device).cpu() - perturbation("cpu")).abs()
    assert (difference > 1e-6).float().mean() < 1e-3


@pytest.mark.parametrize("crafting", [Crafting(), Crafting(precision="bf16-mixed")])
def test_a_verdict_agrees_with_the_cpu(device, crafting):
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
        Bench(classifier.to(device), image_set, device=device, crafting=crafting),
        epsilon="1/255",
        steps=3,
    )
    assert 0 < expected.correct < 100
    assert abs(found.correct - expected.correct) <= 2


def test_a_pretrained_model_computes_there_what_it_computes_on_the_cpu(device):
    encoder = load_pretrained("cfamc_resnet10w16_digits_m3")
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, sent = encoder(images), images.to(device)
        moved = encoder.to(device)
        moved(sent)  # the first pass makes plans and workspaces
        with never_waiting(device):
            found = moved(sent)
    assert found.device.type == device
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-4)
