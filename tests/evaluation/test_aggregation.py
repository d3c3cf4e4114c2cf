"""The crops protocol: mean features of n fixed crops, whose image or crops are attacked."""

import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from solo_adv.adversaries import PGD
from solo_adv.crops import CropSpec, as_unit_float
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation import (
    AggregatingEncoder,
    Bench,
    CropStacks,
    FixedCrops,
    HeadRecipe,
    RobustSettings,
    batches,
    clean_accuracy,
    crop_spec,
    evaluate_autoattack,
    evaluate_pgd,
    evaluate_robustness,
    extract,
)
from solo_adv.evaluation.aggregation import SPACES
from solo_adv.evaluation.attacks import autoattack as autoattack_module
from solo_adv.report.writing import write_report
from solo_adv.support.errors import UserError

CONFIG = {"crops": {"num_crops": 16, "size": 8, "backend": "torch", "source": "device"}}


def crops_of(num_crops=6, augmentation="full", seed=5, **changes):
    config = {"crops": {**CONFIG["crops"], **changes}}
    return FixedCrops(crop_spec(config, num_crops=num_crops, augmentation=augmentation), seed)


@pytest.fixture
def smooth():
    """An encoder of crops of 8 pixels whose features are smooth functions of the pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 12), nn.Tanh(), nn.Linear(12, 5))


def brute_force(encoder, crops, images):
    """Compute mean features in float64, crop by crop, with torch's own resize."""
    encoder = encoder.double()
    parameters = crops.parameters_for(*images.shape[2:])
    features = []
    for image in images.double():
        total = 0
        for index in range(len(parameters)):
            top, left, height, width = (
                int(getattr(parameters, edge)[index]) for edge in ("top", "left", "height", "width")
            )
            box = image[None, :, top : top + height, left : left + width]
            crop = interpolate(box, size=(8, 8), mode="bilinear", antialias=True)
            total += encoder(crop.flip(3) if parameters.flip[index] else crop)
        features.append(total / len(parameters))
    encoder.float()
    return torch.cat(features)


@pytest.mark.parametrize(("num_crops", "max_crops"), [(1, 512), (6, 512), (6, 18), (6, 2)])
def test_equals_a_loop_over_images_and_crops(smooth, pattern_set, num_crops, max_crops):
    image_set, crops = pattern_set(10, seed=2), crops_of(num_crops, "geometric")
    images = as_unit_float(image_set.images)
    expected = brute_force(smooth, crops, images)
    for space, subject in (("image", image_set), ("crop", CropStacks(image_set, crops))):
        encoder = AggregatingEncoder(smooth, crops, space=space, max_crops=max_crops).eval()
        for batch_size in (3, 64):
            features, labels = extract(encoder, subject, batch_size, "cpu")
            torch.testing.assert_close(features.double(), expected, rtol=0, atol=1e-5)
            assert torch.equal(labels, image_set.labels)


@pytest.mark.parametrize("augmentation", ["full", "geometric"])
def test_both_spaces_give_the_same_features(smooth, pattern_set, augmentation):
    image_set, crops = pattern_set(10), crops_of(16, augmentation)
    of_images, of_crops = (
        AggregatingEncoder(smooth, crops, space=space, max_crops=512).eval()
        for space in ("image", "crop")
    )
    images, _ = next(iter(batches(image_set, 10, "cpu")))
    stacks, _ = next(iter(batches(CropStacks(image_set, crops), 10, "cpu")))
    assert stacks.shape == (10, 3 * 16, 8, 8)
    assert torch.equal(of_images(images), of_crops(stacks))


def test_crops_are_a_function_of_the_seed_and_the_pixels_alone(pattern_set):
    images = as_unit_float(pattern_set(6).images)
    stacks = crops_of()(images)
    assert torch.equal(stacks, crops_of()(images))
    order = torch.tensor([3, 1, 5])
    torch.testing.assert_close(crops_of()(images[order]), stacks[order], rtol=0, atol=1e-6)
    assert not torch.equal(stacks, crops_of(seed=6)(images))
    views = stacks.view(6, 6, 3, 8, 8)
    assert not torch.equal(views[:, 0], views[:, 1])


def test_full_and_geometric_augmentation():
    config = {"crops": {**CONFIG["crops"], "scale": [0.25, 0.25], "hue": 0.1, "flip_prob": 0.25}}
    full = crop_spec(config, num_crops=64)
    assert full == CropSpec(num_crops=64, size=8, scale=(0.25, 0.25), hue=0.1, flip_prob=0.25)
    geometric = crop_spec(config, num_crops=64, augmentation="geometric")
    assert (geometric.scale, geometric.flip_prob) == ((0.25, 0.25), 0.25)
    for operation in ("jitter", "grayscale", "blur", "solarize"):
        assert getattr(geometric, f"{operation}_prob") == 0
    with pytest.raises(UserError, match="protocol=central"):
        crop_spec({}, num_crops=4)


@pytest.mark.parametrize("max_crops", [512, 12])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("augmentation", ["full", "geometric"])
def test_gradient_through_the_crops_by_finite_differences(
    smooth, pattern_set, augmentation, interpolation, max_crops
):
    # Crops must not saturate or solarise, because the function has a kink or a jump there.
    crops = crops_of(
        6, augmentation, interpolation=interpolation, solarize_prob=0.0, brightness=0.2
    )
    encoder = AggregatingEncoder(smooth, crops, space="image", max_crops=max_crops).eval()
    images = 0.35 + 0.3 * as_unit_float(pattern_set(4, seed=3).images)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 5, generator=generator)

    def value(images):
        return (encoder(images) * weight).double().sum()

    (gradient,) = torch.autograd.grad(value(images.requires_grad_()), images)
    assert gradient.abs().flatten(1).amax(1).min() > 0
    length = gradient.norm()
    random = [torch.randn(images.shape, generator=generator) for _ in range(3)]
    for direction in (gradient, *random):
        unit = direction / direction.norm()
        with torch.no_grad():
            ahead, behind = value(images + 5e-3 * unit), value(images - 5e-3 * unit)
        expected = (gradient * unit).sum()
        # The tolerance allows for kinks of the hue, which a step may cross.
        assert abs((ahead - behind) / 1e-2 - expected) < 0.02 * length


def test_white_and_black_pixels_keep_their_gradient(smooth):
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 8).clone().requires_grad_()
    crops = crops_of(12, "geometric")
    encoder = AggregatingEncoder(smooth, crops, space="image", max_crops=99).eval()
    (gradient,) = torch.autograd.grad(encoder(images).sum(), images)
    inside = torch.full_like(images, 0.5).requires_grad_()
    assert crops(inside).max() <= 1
    share = (gradient != 0).flatten(1).double().mean(1)
    assert share.min() > 0.95


def subject(net, image_set, space, num_crops=5):
    crops = crops_of(num_crops, "geometric", scale=[0.8, 1.0], flip_prob=0.0)
    encoder = AggregatingEncoder(net.encoder, crops, space=space, max_crops=40)
    sets = image_set if space == "image" else CropStacks(image_set, crops)
    return Classifier(encoder, net.head).requires_grad_(False), sets


def test_each_crop_has_its_own_ball_and_the_image_has_one(pattern_net, pattern_set):
    net, image_set = pattern_net(), pattern_set(60, seed=1)
    accuracies = {}
    for space in SPACES:
        classifier, sets = subject(net, image_set, space)
        accuracies[space] = evaluate_pgd(
            Bench(classifier, sets), epsilon=12 / 255, steps=15
        ).accuracy
        assert clean_accuracy(Bench(classifier, sets)).top1.accuracy > 0.5
    # Geometric bilinear crops average pixels, so the image's ball lies within those of the crops.
    assert accuracies["crop"] < accuracies["image"] < 0.9


@pytest.mark.parametrize("space", ["crop", pytest.param("image", marks=pytest.mark.slow)])
def test_verdicts_do_not_depend_on_batches_and_chunks(pattern_net, pattern_set, space):
    classifier, sets = subject(pattern_net(), pattern_set(30, seed=1), space)
    counts = set()
    for batch_size, max_crops in ((30, 40), (7, 512), (30, 1)):
        classifier.encoder.max_crops = max_crops
        result = evaluate_pgd(Bench(classifier, sets, batch_size=batch_size), epsilon=12 / 255)
        counts.add(result.correct)
    assert len(counts) == 1


@pytest.mark.parametrize("space", SPACES)
def test_autoattack_runs_on_it(monkeypatch, pattern_net, pattern_set, space):
    make = autoattack_module._ensemble

    def shorter(*arguments):
        ensemble = make(*arguments)
        ensemble.square.n_queries = 20
        for attack in (ensemble.apgd, ensemble.apgd_targeted, ensemble.fab):
            attack.n_iter = 6
        return ensemble

    monkeypatch.setattr(autoattack_module, "_ensemble", shorter)
    classifier, sets = subject(pattern_net(), pattern_set(16, seed=1), space)
    clean = clean_accuracy(Bench(classifier, sets))
    result = evaluate_autoattack(Bench(classifier, sets), epsilon=12 / 255)
    assert 0 <= result.correct < clean.top1.correct


@pytest.mark.parametrize("linear", [pytest.param("standard", marks=pytest.mark.slow), "robust"])
@pytest.mark.parametrize("space", SPACES)
def test_evaluation_by_crops(pattern_net, pattern_set, tmp_path, space, linear):
    settings = RobustSettings(
        protocol="crops",
        num_crops=4,
        space=space,
        linear=linear,
        crop_augmentation="geometric",
        epsilons=("8/255",),
        steps=4,
        train_steps=1,
        head=HeadRecipe(lr=0.01, batch_size=50, epochs=2, min_updates=0),
        alarm_images=20,
        batch_size=64,
    )
    encoder = pattern_net().encoder
    config = {"crops": {**CONFIG["crops"], "scale": [0.8, 1.0], "flip_prob": 0.0}}
    reports = [
        evaluate_robustness(
            encoder,
            pattern_set(100),
            pattern_set(40, seed=1, name="patterns test"),
            settings,
            method="cfamc",
            checkpoint="c",
            pretrain_config=config,
            device="cpu",
            quiet=True,
        ).report
        for _ in range(2)
    ]
    one, other = ([m.figure for m in report.measurements] for report in reports)
    assert one == other
    assert reports[0].by_label["clean"].accuracy > 0.5
    assert reports[0].alarms == []
    written = write_report(reports[0], tmp_path)
    text = written["md"].read_text()
    words = {"crop": "each of the 4 resized crops", "image": "from which the 4 crops are then cut"}
    assert words[space] in text
    assert "4 random crops of every image (geometric only)" in text


def test_memory_does_not_grow_with_the_number_of_crops(smooth, pattern_set):
    kept = []

    class Counted(nn.Module):
        def forward(self, crops):
            kept.append(len(crops))
            return smooth(crops)

    images = as_unit_float(pattern_set(12).images)
    encoder = AggregatingEncoder(Counted(), crops_of(8), space="image", max_crops=24).eval()
    delta = PGD(0.03, 0.01, 1).perturb(images, lambda x: encoder(x).sum())
    assert delta.abs().max() > 0
    assert max(kept) <= 24
    assert sum(kept) == 2 * 12 * 8  # computed again in the backward pass


def test_stacks_have_all_attributes_of_the_set_of_images(random_set):
    images = random_set()
    images.skip = True
    stacks = CropStacks(images, FixedCrops(CropSpec(num_crops=2, size=4), seed=0))
    for held in (stacks, stacks.subset([0, 2])):
        assert vars(held).keys() == {*vars(images), "crops"}
        assert held.skip
    assert stacks.subset([0, 2]).labels.tolist() == images.labels[[0, 2]].tolist()
