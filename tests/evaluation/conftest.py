"""Toy images and encoders whose right answers are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.data.sources import ArraySources
from solo_adv.encoders.classifier import Classifier, predict
from solo_adv.evaluation import Bench


@pytest.fixture(autouse=True)
def no_workers(monkeypatch):
    monkeypatch.setattr("solo_adv.support.processes.usable_cores", lambda: 0)


@pytest.fixture(autouse=True)
def one_thread():
    # with such small tensors, threads mostly wait for each other
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def random_set():
    """A function that makes a resident set of random images well inside the pixel box."""

    def make(count=24, num_classes=3, side=4, seed=0, name="toy test"):
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(80, 176, (count, 3, side, side), generator=generator)
        labels = torch.randint(num_classes, (count,), generator=generator)
        classes = tuple(f"class {index}" for index in range(num_classes))
        return ImageSet(name, labels, classes, images=images.to(torch.uint8))

    return make


@pytest.fixture
def streamed():
    """A function that turns a resident set into a streamed one."""

    def make(image_set):
        sources = ArraySources(image_set.images.permute(0, 2, 3, 1).numpy())
        return ImageSet(image_set.name, image_set.labels, image_set.classes, sources=sources)

    return make


@pytest.fixture
def linear_bench(random_set):
    """A function that makes a linear classifier into ten classes, and images that it gets right.

    The logits are proportional to ``scale``. Where it is small, the softmax is flat.
    """

    def make(scale, count=400):
        generator = torch.Generator().manual_seed(3)
        head = nn.Linear(48, 10)
        with torch.no_grad():
            head.weight.copy_(scale * torch.randn(10, 48, generator=generator))
            head.bias.zero_()
        classifier = Classifier(nn.Flatten(), head).eval().requires_grad_(False)
        image_set = random_set(count, num_classes=10)
        image_set.labels = predict(classifier, image_set.images / 255)
        return Bench(classifier, image_set, batch_size=64)

    return make


class TwoFeatures(nn.Module):
    """Two features: the mean of the left half times 4, and that of the right half times 100."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.gain = nn.Parameter(torch.tensor([4.0, 100.0]))

    def forward(self, images):
        half = images.shape[-1] // 2
        left = images[..., :half].flatten(1).mean(1) - 0.5
        right = images[..., half:].flatten(1).mean(1) - 0.5
        return self.norm(torch.stack([left, right], dim=1) * self.gain)


@pytest.fixture
def two_features():
    return TwoFeatures().eval()


@pytest.fixture
def two_feature_set():
    """A function that makes images of two classes with a robust and a fragile feature.

    The left half differs by +-40/255 and is right for 90 % of the images; the right half differs
    by +-4/255, less than an attack of 8/255 can change, and is always right.
    """

    def make(count=200, seed=0, name="toy train"):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % 2
        sign = 2 * labels - 1
        lies = torch.rand(count, generator=generator) < 0.1
        images = torch.full((count, 3, 4, 4), 128)
        images[..., :2] += (40 * torch.where(lies, -sign, sign)).view(-1, 1, 1, 1)
        images[..., 2:] += (4 * sign).view(-1, 1, 1, 1)
        return ImageSet(name, labels, ("no", "yes"), images=images.to(torch.uint8))

    return make


@pytest.fixture
def pattern_set():
    """A function that makes noisy images (N, 3, 8, 8); each class has its own pattern."""

    def make(count=300, num_classes=5, seed=0, name="patterns train", noise=30):
        patterns = torch.randn(num_classes, 3, 8, 8, generator=torch.Generator().manual_seed(7))
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(count) % num_classes
        images = 128 + 25 * patterns[labels]
        images += noise * torch.randn(images.shape, generator=generator)
        classes = tuple(f"class {index}" for index in range(num_classes))
        return ImageSet(name, labels, classes, images=images.clamp(0, 255).round().to(torch.uint8))

    return make


@pytest.fixture
def pattern_net(pattern_set):
    """A function that trains a small classifier on attacked patterns, which takes a second."""

    def make(num_classes=5, updates=60, seed=0):
        generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            encoder = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()
            )
            head = nn.Linear(8 * 64, num_classes)
        net = nn.Sequential(encoder, head).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.003)
        train_set = pattern_set(num_classes=num_classes)
        adversary = PGD(8 / 255, 4 / 255, 3)
        for _ in range(updates):
            picked = torch.randint(len(train_set), (64,), generator=generator)
            images, labels = train_set.images[picked] / 255, train_set.labels[picked]
            delta = adversary.perturb(
                images, lambda x, labels=labels: F.cross_entropy(net(x), labels, reduction="sum")
            )
            optimizer.zero_grad()
            F.cross_entropy(net(images + delta), labels).backward()
            optimizer.step()
        net.zero_grad()
        return Classifier(encoder, head).requires_grad_(False)

    return make
