"""A tensor that strays to the CPU is an error, whichever part of an evaluation it is in.

Each case runs twice: once as it is, which must reach the place of the stray, and once with the
result of that place sent to the CPU, which must be an error.
"""

from types import SimpleNamespace

import pytest
import torch

from solo_adv.adversaries import PGD
from solo_adv.adversaries.ball import LInf
from solo_adv.crops import CropSpec
from solo_adv.data import ImageSet
from solo_adv.evaluation import Bench, evaluate_pgd
from solo_adv.evaluation.aggregation import AggregatingEncoder, CropStacks, FixedCrops
from solo_adv.evaluation.attacks import autoattack
from solo_adv.evaluation.attacks.judging import clean_accuracy
from solo_adv.evaluation.corruptions import judging, sources
from solo_adv.evaluation.heads import linear
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.heads.finetune import FinetuneRecipe, finetune_adversarially
from solo_adv.evaluation.heads.knn import knn_accuracy
from solo_adv.evaluation.mapping import map_features
from tests.device.test_evaluation import image_set

ATTACK = PGD(8 / 255, 2 / 255, 2, random_start=True, batch_norm="eval")


@pytest.fixture
def network(device):
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(10)
    made = torch.nn.Sequential(*layers)
    made(torch.zeros(1, 3, 16, 16))
    return made.to(device).eval()


def seen_rightly(network, device):
    """Images with the labels that the network gives them: attacks leave out those it gets wrong."""
    images = image_set(8, 0).images
    with torch.no_grad():
        labels = network((images / 255).to(device)).argmax(1).cpu()
    return ImageSet("noise", labels, tuple("0123456789"), images=images)


def bench(network, device):
    return Bench(network, seen_rightly(network, device), batch_size=4, device=device)


def verdict(network, device, patch):
    evaluate_pgd(bench(network, device), epsilon="1/255", steps=2, random_start=True)


def accuracy(network, device, patch):
    clean_accuracy(bench(network, device))


def head(network, device, patch, adversary=None, encoder=None, images=None):
    recipe = linear.HeadRecipe(batch_size=4, epochs=1, min_updates=1)
    linear.train_head(
        *(encoder or network, images or image_set(8, 0)),
        **{"num_classes": 10, "features_dim": 10, "recipe": recipe, "adversary": adversary},
        **{"device": device, "seed": 0},
    )


def robust_head(network, device, patch):
    head(network, device, patch, ATTACK)


def crops_of_images(network, device, patch):
    encoder = AggregatingEncoder(network, drawn_crops(), space="image", max_crops=8)
    head(network, device, patch, ATTACK, encoder)


def attacked_crops(network, device, patch):
    crops = drawn_crops()
    encoder = AggregatingEncoder(network, crops, space="crop", max_crops=8)
    head(network, device, patch, ATTACK, encoder, CropStacks(image_set(8, 0), crops))


def drawn_crops():
    return FixedCrops(CropSpec(num_crops=2, size=16), seed=0)


def tuned(network, device, patch):
    recipe = FinetuneRecipe(epochs=1, batch_size=4)
    options = {"adversary": ATTACK, "device": device, "seed": 0}
    finetune_adversarially(network[:3], network[3], image_set(8, 0), recipe=recipe, **options)


def corrupted(network, device, patch):
    patch.setattr(sources, "CORRUPTIONS", ("brightness",))
    images = seen_rightly(network, device)
    source = sources.source_of("generated", images, max_images=None, seed=0, frost=None)
    judging.evaluate_corruptions(bench(network, device), source)


def by_autoattack(network, device, patch):
    attack = SimpleNamespace(perturb=lambda images, labels: images)
    names = ("apgd", "apgd_targeted", "fab", "square")
    ensemble = SimpleNamespace(get_seed=lambda: 0, **dict.fromkeys(names, attack))
    patch.setattr(autoattack, "_ensemble", lambda *_: ensemble)
    autoattack.evaluate_autoattack(bench(network, device), epsilon="1/255")


CASES = {
    "attack": (verdict, PGD, "perturb"),
    "random start": (verdict, LInf, "start"),
    "step of an attack": (verdict, LInf, "step"),
    "projection": (verdict, LInf, "project"),
    "gradient": (verdict, PGD, "_gradient"),
    "scores": (accuracy, torch.nn.Linear, "forward"),
    "features": (head, linear, "extract"),
    "head": (head, linear, "_new_head"),
    "head in an attack": (robust_head, linear, "_new_head"),
    "attack on a head": (robust_head, PGD, "perturb"),
    "crops of an image": (crops_of_images, FixedCrops, "forward"),
    "mean over crops": (crops_of_images, AggregatingEncoder, "_means"),
    "attack on crops": (attacked_crops, PGD, "perturb"),
    "stacks of crops": (attacked_crops, FixedCrops, "forward"),
    "attack in fine-tuning": (tuned, PGD, "perturb"),
    "corrupted images": (corrupted, sources._Generated, "change"),
    "AutoAttack's images": (by_autoattack, autoattack, "_attack"),
}


def first_sent(result):
    """The result of a function, of which the first tensor is sent to the CPU."""
    return (result[0].cpu(), *result[1:]) if isinstance(result, tuple) else result.cpu()


@pytest.mark.parametrize("name", CASES)
def test_a_stray_is_an_error(device, network, name, monkeypatch):
    work, place, function = CASES[name]
    usual, reached = getattr(place, function), []

    def noted(*args, **kwargs):
        reached.append(name)
        return usual(*args, **kwargs)

    monkeypatch.setattr(place, function, noted)
    work(network, device, monkeypatch)
    assert reached
    monkeypatch.setattr(place, function, lambda *args, **kwargs: first_sent(usual(*args, **kwargs)))
    with pytest.raises(RuntimeError, match=r"device|weight type"):
        work(network, device, monkeypatch)


def test_a_layer_on_the_cpu_is_an_error(device, network):
    judged = bench(network, device)
    network[3].cpu()
    with pytest.raises(RuntimeError):
        evaluate_pgd(judged, epsilon="1/255", steps=2)


def test_neighbours_are_those_on_the_cpu(device, network):
    sets = [extract(network, image_set(20, seed), 8, device) for seed in (0, 1)]
    assert {part.device.type for pair in sets for part in pair} == {device}
    found = knn_accuracy(*sets[0], *sets[1], k=3)
    there = [[part.cpu() for part in pair] for pair in sets]
    assert found == pytest.approx(knn_accuracy(*there[0], *there[1], k=3), abs=0.06)
    with pytest.raises(RuntimeError):
        knn_accuracy(there[0][0], sets[0][1], *sets[1], k=3)


def test_a_map_of_features_is_computed_on_the_device(device, network, monkeypatch):
    monkeypatch.setattr("solo_adv.evaluation.mapping._tsne", lambda features, seed: features[:, :2])
    options = {
        "adversary": ATTACK,
        "max_images": None,
        "batch_size": 4,
        "device": device,
        "seed": 0,
    }
    made = map_features(network, image_set(12, 0), kind="tsne", **options)
    assert not torch.equal(made.clean, made.attacked)
    network[3].cpu()
    with pytest.raises(RuntimeError):
        map_features(network, image_set(12, 0), kind="tsne", **options)
