"""One check of images: what crops, attacks and encoders refuse, and what they are told to do."""

import pytest
import torch

from solo_adv import load_pretrained
from solo_adv.adversaries import PGD, Fast, Free
from solo_adv.crops import CropSpec
from solo_adv.crops.torch import TorchCrops
from solo_adv.support.errors import UserError
from solo_adv.support.pixels import PixelCheck

ENCODER = "cfamc_resnet10w16_digits_m3"


def pixels(*shape):
    return torch.rand(shape or (2, 3, 16, 16), generator=torch.Generator().manual_seed(0))


def nan():
    images = pixels()
    images[1, 2, 3, 4] = float("nan")
    return images


# kind, images, the remedy in the message
REFUSED = [
    ("0 to 255", pixels() * 255, "Divide by 255"),
    ("normalised", (pixels() - 0.5) / 0.25, "Undo the normalisation"),
    ("overshot", pixels() * 1.2, "Clamp"),
    ("nan", nan(), "not finite"),
    ("inf", pixels() / torch.zeros(1), "not finite"),
    ("whole numbers", (pixels() * 255).long(), r"images; got torch.int64"),
    ("one image", pixels(3, 16, 16), r"images\[None\]"),
    ("channels last", pixels(2, 16, 16, 3), r"images.permute\(0, 3, 1, 2\)"),
    ("grey", pixels(2, 1, 16, 16), r"images.expand\(-1, 3, -1, -1\)"),
    ("four channels", pixels(2, 4, 16, 16), r"got \(2, 4, 16, 16\)"),
    ("no image", pixels(0, 3, 16, 16), "without empty dimensions"),
    ("flat", pixels(2, 768), r"got \(2, 768\)"),
    ("an array", pixels().numpy(), r"got ndarray\. Give torch\.from_numpy"),
]


def attack(adversary):
    return lambda images: adversary.perturb(images, lambda moved: moved.sum())


@pytest.fixture(scope="module")
def encoder():
    return load_pretrained(ENCODER)


@pytest.fixture(scope="module")
def takers(encoder):
    return {
        "PGD": attack(PGD()),
        "Free": attack(Free()),
        "Fast": attack(Fast()),
        "encoder": encoder,
        "feature maps": encoder.feature_maps,
        "crops": TorchCrops(CropSpec.preset("weak", num_crops=1, size=16)),
    }


TAKERS = ("PGD", "Free", "Fast", "encoder", "feature maps", "crops")


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
@pytest.mark.parametrize("taker", TAKERS)
def test_everyone_refuses(takers, taker, row):
    with pytest.raises(UserError, match=row[2]) as caught:
        takers[taker](row[1])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("taker", TAKERS)
def test_only_crops_take_bytes(takers, taker):
    images = (pixels() * 255).byte()
    if taker == "crops":
        takers[taker](images)
    else:
        with pytest.raises(UserError, match=r"got uint8. Give images.float\(\) / 255"):
            takers[taker](images)


@pytest.mark.parametrize("taker", TAKERS)
def test_rounding_is_accepted(takers, taker):
    images = pixels()
    images[0, 0, 0, :2] = torch.tensor([-1e-6, 1 + 1e-6])
    takers[taker](images)


def test_attacks_take_stacks_of_crops(takers):
    takers["PGD"](pixels(2, 12, 4, 4))


def test_an_accelerator_is_waited_for_once(monkeypatch):
    looks = []
    monkeypatch.setattr(PixelCheck, "_look", lambda self, images: looks.append(1))
    check = PixelCheck("Attacks")
    far = torch.empty(2, 3, 4, 4, device="meta")
    check(far)
    check(far)
    assert len(looks) == 1
    check(pixels())
    check(pixels())
    assert len(looks) == 3


def test_tensors_without_values_pass(encoder):
    PixelCheck("Attacks")(torch.empty(2, 3, 4, 4, device="meta"))
    mapped = torch.vmap(lambda image: encoder.backbone(image[None])[0])
    torch.testing.assert_close(
        torch.vmap(lambda image: encoder(image[None])[0])(pixels()),
        encoder.projector.hidden(mapped(pixels())),
        rtol=1e-4,
        atol=1e-5,
    )
