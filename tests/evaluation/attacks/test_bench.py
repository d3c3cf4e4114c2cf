"""A bench: which images it has, in which batches, and what it refuses to judge."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import nn

from solo_adv.evaluation import Bench, batches
from solo_adv.support.errors import UserError


@pytest.fixture
def bench(random_set):
    return Bench(nn.Sequential(nn.Flatten(), nn.Dropout()).eval(), random_set(60), batch_size=25)


def test_images_are_drawn_by_the_seed_alone(bench):
    one, other = (replace(bench, seed=seed).drawn(20) for seed in (5, 6))
    assert len(one.images) == len(other.images) == 20
    assert not torch.equal(one.images.images, other.images.images)
    assert torch.equal(one.images.images, replace(bench, batch_size=3).drawn(20).images.images)
    assert bench.drawn(None).images is bench.drawn(100).images is bench.images
    with pytest.raises(UserError, match="max_images must be a whole number of at least 1"):
        bench.drawn(0)


def test_batches_have_the_size_of_the_bench(bench):
    found = list(bench.batches())
    assert [len(labels) for _, labels in found] == [25, 25, 10]
    expected = batches(bench.images, 25, "cpu")
    for (images, labels), (their_images, their_labels) in zip(found, expected, strict=True):
        assert torch.equal(images, their_images)
        assert torch.equal(labels, their_labels)


def test_shared_batches_are_of_all_images_or_of_those_asked_for(bench):
    assert torch.cat([batch.places for batch in bench.my_batches()]).tolist() == list(range(60))
    places = torch.arange(60).flip(0)[:30]
    (last,) = bench.my_batches(places, first=1)
    assert last.number == 1
    assert last.places.tolist() == places[25:].tolist()
    assert torch.equal(last.labels, bench.images.labels[places[25:]])


def test_what_cannot_be_judged_is_refused(bench):
    bench.check()
    with pytest.raises(UserError, match="the test set is empty"):
        replace(bench, images=bench.images.subset([])).check()
    bench.classifier[1].train()
    with pytest.raises(UserError, match="training mode"):
        bench.check()


def test_a_bench_cannot_be_changed(bench):
    with pytest.raises(FrozenInstanceError):
        bench.seed = 6
