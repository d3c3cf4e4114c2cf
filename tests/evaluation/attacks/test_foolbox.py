"""PGD agrees with foolbox's, an independent implementation, on adversarially trained networks."""

import os

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solo_adv.adversaries import PGD
from solo_adv.crops import as_unit_float
from solo_adv.data import DataConfig, load_split
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation import Bench, evaluate_pgd, select

foolbox = pytest.importorskip("foolbox", reason="pip install foolbox to compare attacks with it")


def foolbox_accuracy(net, image_set, epsilon, steps, step_size):
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=False)
    standing = 0
    for images, labels in zip(
        as_unit_float(image_set.images).split(250), image_set.labels.split(250), strict=True
    ):
        _, _, broken = attack(model, images, labels, epsilons=epsilon)
        standing += int((~broken).sum())
    return standing / len(image_set)


@pytest.mark.parametrize("epsilon", [4 / 255, 8 / 255, 12 / 255])
def test_pgd_agrees_with_foolbox(pattern_net, pattern_set, epsilon):
    net, image_set = pattern_net(num_classes=10), pattern_set(400, 10, seed=1, noise=60)
    ours = evaluate_pgd(Bench(net, image_set), epsilon=epsilon).accuracy
    theirs = foolbox_accuracy(net, image_set, epsilon, 20, 0.01)
    assert 0.02 < ours < 0.98
    assert abs(ours - theirs) <= 0.005


@pytest.mark.slow
def test_pgd_agrees_with_foolbox_on_cifar10():
    folder = os.environ.get("SOLO_ADV_CIFAR10_PARQUET")
    if not folder:
        pytest.skip("set SOLO_ADV_CIFAR10_PARQUET to a folder with CIFAR-10 as Parquet")
    config = DataConfig(dataset="cifar10", format="parquet", train_path=folder, val_path=folder)
    train_set = select(load_split(config, "train"), 5000, 0)
    test_set = select(load_split(config, "test"), 400, 0)
    torch.manual_seed(0)
    encoder = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(4), nn.Flatten()),
    )
    net = nn.Sequential(encoder, nn.Linear(512, 10)).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.002)
    adversary = PGD(4 / 255, 0.01, 3)
    for _ in range(8):
        for picked in torch.randperm(len(train_set)).split(100):
            images, labels = train_set.images[picked] / 255, train_set.labels[picked]
            delta = adversary.perturb(
                images, lambda x, labels=labels: F.cross_entropy(net(x), labels, reduction="sum")
            )
            optimizer.zero_grad()
            F.cross_entropy(net(images + delta), labels).backward()
            optimizer.step()
    classifier = Classifier(net[0], net[1]).requires_grad_(False)
    for epsilon in (4 / 255, 8 / 255):
        ours = evaluate_pgd(Bench(classifier, test_set), epsilon=epsilon).accuracy
        assert abs(ours - foolbox_accuracy(classifier, test_set, epsilon, 20, 0.01)) <= 0.005
    assert evaluate_pgd(Bench(classifier, test_set), epsilon=4 / 255).accuracy > 0.2
