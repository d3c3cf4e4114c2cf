"""Counts of correct corrupted images: against a loop by hand, resumed, in crops, from folders."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from solo_adv.crops import CropSpec
from solo_adv.data import ImageSet
from solo_adv.evaluation import Bench, CropStacks, FixedCrops
from solo_adv.evaluation.corruptions import judging
from solo_adv.evaluation.corruptions.generating import corrupted
from solo_adv.evaluation.corruptions.judging import evaluate_corruptions
from solo_adv.evaluation.corruptions.severities import CORRUPTIONS, SEVERITIES
from solo_adv.evaluation.corruptions.sources import source_of
from solo_adv.report.corruptions import corruption_table
from solo_adv.support.errors import UserError


class Brightest(nn.Module):
    """The class is the channel with the highest mean."""

    def forward(self, images):
        return images.mean(dim=(2, 3)).view(len(images), -1, 3).sum(1)


@pytest.fixture
def images():
    """Eleven images of 16 pixels. One channel of each is a little brighter, mostly the label's."""
    draw = np.random.default_rng(3)
    labels = np.arange(11) % 3
    pixels = draw.integers(60, 190, (11, 3, 16, 16))
    pixels[np.arange(11), labels] += 6
    labels[:2] = (labels[:2] + 1) % 3
    held = torch.from_numpy(pixels.astype(np.uint8))
    return ImageSet("toy test", torch.from_numpy(labels), ("r", "g", "b"), images=held)


@pytest.fixture
def bench(images):
    return Bench(Brightest().eval(), images, batch_size=4)


@pytest.fixture
def generated(images, frost_folder):
    return source_of("generated", images, max_images=None, seed=5, frost=str(frost_folder))


def test_the_accuracy_is_the_mean_over_corruptions_and_severities(
    bench, images, generated, frost_folder
):
    found = evaluate_corruptions(bench, generated)
    pixels = images.images.permute(0, 2, 3, 1).numpy()
    accuracies = []
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            changed = corrupted(
                pixels, name, severity, places=range(11), seed=5, frost=frost_folder
            )
            right = (changed.mean(axis=(1, 2)).argmax(1) == images.labels.numpy()).sum()
            assert found.details[f"{name} {severity}"] == right, (name, severity)
            accuracies.append(right / 11)
    assert found.accuracy == pytest.approx(np.mean(accuracies))
    assert 0.3 < found.accuracy < 0.95
    assert (found.total, found.images) == (75 * 11, 11)
    assert found.label == "corruptions (15, generated)"
    assert found.name == "corruptions"
    assert found.settings == {
        "times": 75,
        "variant": "15, generated",
        "source": "generated",
        "missing": [],
    }
    assert "images of 32 pixels" in found.notes[0]
    assert "For images of 16 pixels, none are published" in found.notes[0]
    # The batch size changes nothing, because every image has its own random numbers.
    again = evaluate_corruptions(replace(bench, batch_size=3), generated)
    assert again.details == found.details


def test_without_pictures_of_frost_it_is_the_mean_of_fourteen(bench, images, monkeypatch):
    monkeypatch.setattr("solo_adv.evaluation.corruptions.pictures.find_spec", lambda _: None)
    source = source_of("generated", images, max_images=None, seed=5, frost=None)
    found = evaluate_corruptions(bench, source)
    assert found.label == "corruptions (14, generated)"
    assert found.settings["missing"] == ["frost"]
    assert found.total == 70 * 11
    assert not any("frost" in key for key in found.details)
    assert "Without frost" in found.notes[1]


def test_pictures_of_frost_are_those_of_the_installed_package(images, monkeypatch, frost_folder):
    class Spec:
        origin = str(frost_folder.parent / "__init__.py")

    monkeypatch.setattr("solo_adv.evaluation.corruptions.pictures.find_spec", lambda _: Spec)
    source = source_of("generated", images, max_images=None, seed=5, frost=None)
    assert source.corruptions == CORRUPTIONS
    (frost_folder / "frost5.jpg").unlink()
    assert "frost" not in source_of(
        "generated", images, max_images=None, seed=5, frost=None
    ).corruptions  # fmt: skip


def test_a_killed_evaluation_continues_after_the_last_corruption(
    bench, generated, monkeypatch, tmp_path
):
    whole = evaluate_corruptions(bench, generated)
    right, seen = judging._right, []

    def dies(bench, source, corruption, severity):
        seen.append(corruption)
        if corruption == "snow" and severity == 2:
            raise KeyboardInterrupt
        return right(bench, source, corruption, severity)

    monkeypatch.setattr(judging, "_right", dies)
    with pytest.raises(KeyboardInterrupt):
        evaluate_corruptions(bench, generated, directory=tmp_path)
    assert set(seen) == set(CORRUPTIONS[:8])

    seen.clear()
    monkeypatch.setattr(judging, "_right", lambda *a: seen.append(a[2]) or right(*a))
    found = evaluate_corruptions(bench, generated, directory=tmp_path)
    assert set(seen) == set(CORRUPTIONS[7:])
    assert found.details == whole.details
    seen.clear()
    evaluate_corruptions(bench, generated, directory=tmp_path)
    assert seen == []
    other = nn.Sequential(Brightest(), nn.Linear(3, 3)).eval()
    evaluate_corruptions(replace(bench, classifier=other), generated, directory=tmp_path)
    assert set(seen) == set(CORRUPTIONS)


OTHER = '{"fingerprint": "x", "correct": {}, "seconds": 0}'


@pytest.mark.parametrize("text", ["", "{}", "[]", OTHER])
def test_damaged_counts_are_one_clear_line(bench, generated, tmp_path, text):
    evaluate_corruptions(bench, generated, directory=tmp_path)
    (file,) = tmp_path.glob("corruptions-*.json")
    file.write_text(text)
    with pytest.raises(UserError, match="is damaged, or holds the counts of another"):
        evaluate_corruptions(bench, generated, directory=tmp_path)


def test_counts_that_cannot_be_written_are_one_clear_line(bench, generated, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write the counts of corrupted images"):
        evaluate_corruptions(bench, generated, directory=tmp_path / "file" / "below")


def test_crops_are_cut_from_the_corrupted_image(bench, images, generated, frost_folder):
    spec = CropSpec(num_crops=3, size=8, scale=(0.3, 0.5), jitter_prob=1.0)
    crops = FixedCrops(spec, 5)
    stacks = replace(bench, images=CropStacks(images, crops))
    found = evaluate_corruptions(stacks, generated).details
    for name, severity in (("fog", 2), ("shot_noise", 5), ("elastic_transform", 1)):
        pixels = images.images.permute(0, 2, 3, 1).numpy()
        changed = corrupted(pixels, name, severity, places=range(11), seed=5, frost=frost_folder)
        cut = crops(torch.from_numpy(changed).permute(0, 3, 1, 2) / 255)
        right = (bench.classifier(cut).argmax(1) == images.labels).sum()
        assert found[f"{name} {severity}"] == right


def stored(tmp_path, images, labels=None):
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    pixels = images.images.permute(0, 2, 3, 1).numpy()
    levels = [pixels, pixels, pixels, pixels, np.roll(pixels, 1, axis=3)]
    np.save(folder / "fog.npy", np.concatenate(levels))
    labels = images.labels if labels is None else labels
    np.save(folder / "labels.npy", np.tile(labels.numpy(), 5))
    return folder


def test_stored_images_are_judged_as_they_are(bench, images, tmp_path):
    folder = stored(tmp_path, images)
    source = source_of(str(folder), images, max_images=None, seed=5, frost=None)
    found = evaluate_corruptions(bench, source)
    assert [found.details[f"fog {severity}"] for severity in SEVERITIES[:4]] == [9] * 4
    assert found.details["fog 5"] < 9
    assert found.label == "corruptions (1, stored)"
    assert found.settings["source"] == "CIFAR-10-C"
    assert len(found.settings["missing"]) == 14
    assert found.notes[1].startswith("Not in that folder: gaussian_noise, shot_noise")
    assert len(found.notes) == 2


def test_of_stored_images_the_same_are_drawn_as_of_the_test_set(bench, images, tmp_path):
    folder = stored(tmp_path, images)
    drawn = bench.drawn(6)
    source = source_of(str(folder), drawn.images, max_images=6, seed=5, frost=None)
    assert torch.equal(
        torch.stack([source.images("fog", 1)[i][0] for i in range(6)]), drawn.images.images
    )
    assert evaluate_corruptions(drawn, source).images == 6


def test_other_images_than_the_test_set_are_noted(images, tmp_path):
    folder = stored(tmp_path, images, images.labels.flip(0))
    source = source_of(str(folder), images, max_images=None, seed=5, frost=None)
    assert source.notes[-1].startswith("These are other images than the clean ones")


def test_images_that_cannot_be_corrupted_are_refused(images):
    def source(pixels):
        labels = images.labels[: len(pixels)]
        image_set = ImageSet("toy", labels, images=pixels)
        return source_of("generated", image_set, max_images=None, seed=5, frost=None)

    with pytest.raises(UserError, match="needs square images, and these have 8x16"):
        source(images.images[..., :8])
    with pytest.raises(UserError, match="at least 8 pixels; these have 4"):
        source(images.images[..., :4, :4])


def test_missing_pictures_of_frost_are_named(images, tmp_path):
    with pytest.raises(UserError, match="has no frost1"):
        source_of("generated", images, max_images=None, seed=5, frost=str(tmp_path))


def test_the_table_shows_every_accuracy(bench, generated):
    found = evaluate_corruptions(bench, generated)
    lines = corruption_table(found).splitlines()
    assert len(lines) == 2 + 15 + 1
    assert lines[0] == "| corruptions (15, generated), severity | 1 | 2 | 3 | 4 | 5 | mean |"
    fog = [100 * found.details[f"fog {severity}"] / 11 for severity in SEVERITIES]
    row = next(line for line in lines if line.startswith("| fog |"))
    assert row == "| fog | " + " | ".join(f"{x:.2f}" for x in [*fog, sum(fog) / 5]) + " |"
    assert lines[-1].endswith(f" {100 * found.accuracy:.2f} |")
    assert corruption_table(found.figure) is None
