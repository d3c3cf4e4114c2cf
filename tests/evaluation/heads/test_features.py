import pytest
import torch
from torch import nn

from solo_adv.crops import as_unit_float
from solo_adv.evaluation import batches, extract, select
from solo_adv.support.errors import UserError


def test_pixels_are_float_between_0_and_1():
    pixels = as_unit_float(torch.tensor([[0, 51, 255]], dtype=torch.uint8))
    assert pixels.dtype == torch.float32
    assert pixels.tolist() == [[0.0, pytest.approx(0.2), 1.0]]


@pytest.mark.parametrize("batch_size", [5, 24, 100])
def test_features_are_those_of_every_image_in_order(random_set, streamed, batch_size):
    image_set = random_set(24)
    encoder = nn.Flatten().eval()
    for one in (image_set, streamed(image_set)):
        features, labels = extract(encoder, one, batch_size, "cpu")
        assert torch.equal(features, image_set.images.flatten(1).float() / 255)
        assert torch.equal(labels, image_set.labels)


def test_features_carry_no_graph_and_are_float32(random_set):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(48, 2), nn.Sigmoid()).eval()
    features, _ = extract(encoder, random_set(), 8, "cpu")
    assert not features.requires_grad
    assert features.dtype == torch.float32
    assert features.shape == (24, 2)


def test_shuffled_epochs_hold_every_image_in_changing_orders(random_set):
    image_set = random_set(24)
    image_set.labels = torch.arange(24)
    stream = batches(image_set, 10, "cpu", shuffle_seed=1, epochs=2)
    seen = torch.cat([labels for _, labels in stream]).view(2, 24)
    assert torch.equal(seen.sort(dim=1).values, torch.arange(24).expand(2, 24))
    assert not torch.equal(seen[0], seen[1])
    again = torch.cat([y for _, y in batches(image_set, 7, "cpu", shuffle_seed=1)])
    assert torch.equal(again, seen[0])


def test_selection_depends_on_the_seed_alone(random_set):
    image_set = random_set(24)
    image_set.labels = torch.arange(24)
    first = select(image_set, 10, seed=3).labels
    torch.manual_seed(99)
    assert torch.equal(select(image_set, 10, seed=3).labels, first)
    assert not torch.equal(select(image_set, 10, seed=4).labels, first)
    assert first.tolist() == sorted(set(first.tolist()))
    assert first.tolist() != list(
        range(10)
    )  # images in folders are sorted by class, so the subset must be shuffled
    assert select(image_set, None, seed=3) is image_set
    assert len(select(image_set, 1000, seed=3)) == 24


def test_refuses_training_mode(random_set):
    encoder = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48)).eval()
    encoder[1].train()
    with pytest.raises(UserError, match=r"1 \(BatchNorm1d\) is in training mode"):
        extract(encoder, random_set(), 8, "cpu")


def test_names_a_diverged_encoder(random_set):
    class Diverged(nn.Module):
        def forward(self, images):
            return images.flatten(1) * float("nan")

    with pytest.raises(UserError, match="diverged"):
        extract(Diverged().eval(), random_set(), 8, "cpu")


def test_refuses_an_empty_set(random_set):
    with pytest.raises(UserError, match="holds no image"):
        extract(nn.Flatten().eval(), random_set().subset([]), 8, "cpu")
