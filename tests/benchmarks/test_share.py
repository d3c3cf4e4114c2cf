"""Accuracy by the share of an image that is seen: the crops, and the command."""

import json

import pytest
import torch
import torch.nn.functional as F

from benchmarks import share
from benchmarks.share import cut, named
from solo_adv import UserError
from solo_adv.data import ImageSet


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet("noise", torch.arange(20) % 5, images=pixels)


def test_a_crop_is_a_window_of_its_image_in_full_size(images):
    """A quarter of the area of 8 pixels is a window of 4; one of the 25 must fit."""
    crops = cut(images, 0.25, seed=1)
    assert torch.equal(crops.labels, images.labels)
    found = set()
    for image, crop in zip(images.images, crops.images, strict=True):
        windows = {(y, x): image[:, y : y + 4, x : x + 4] for y in range(5) for x in range(5)}
        fitting = [
            place
            for place, window in windows.items()
            if F.interpolate(window[None].float(), 8, mode="bilinear", antialias=True)[0]
            .sub(crop.float())
            .abs()
            .max()
            < 2  # resizing bytes rounds twice
        ]
        assert len(fitting) == 1
        found |= set(fitting)
    assert len(found) > 5
    assert torch.equal(crops.images, cut(images, 0.25, seed=1).images)


def test_the_whole_image_stays_what_it_is(images):
    assert torch.equal(cut(images, 1.0, seed=1).images, images.images)


@pytest.mark.parametrize("wrong", [0.0, 1.5])
def test_a_share_out_of_range_is_refused(images, wrong):
    with pytest.raises(UserError, match="--shares"):
        cut(images, wrong, seed=1)


def test_labels_of_runs():
    assert named("plain=a/b-ep=2.ckpt") == ("plain", "a/b-ep=2.ckpt")
    assert named("a/b-ep=2.ckpt") == ("a/b-ep=2.ckpt", "a/b-ep=2.ckpt")
    assert named("runs") == ("runs", "runs")


def test_the_command_measures_what_is_missing(tmp_path, monkeypatch, capsys):
    output = tmp_path / "share.json"
    model = "cfamc_resnet10w16_digits_m3"
    arguments = [f"demo={model}", "--test-images", "40", "--output", str(output)]
    monkeypatch.setattr("sys.argv", ["share", *arguments, "--shares", "1"])
    share.main()
    (whole,) = json.loads(output.read_text())["rows"]
    assert whole["clean"] > 60  # the model's own head has more than 90 on all test images
    assert 0 < whole["8/255"] <= whole["clean"]
    monkeypatch.setattr("sys.argv", ["share", *arguments, "--shares", "1", "0.25"])
    share.main()
    first, second = json.loads(output.read_text())["rows"]
    assert first == whole
    assert second["clean"] < first["clean"]
    assert capsys.readouterr().out.count("| demo | 1 |") == 2 + 1
