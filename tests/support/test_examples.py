"""Features, labels and images that are handed to Python calls: accepted, or refused by name."""

import pytest
import torch
import torch.nn.functional as F

from solo_adv.data import ImageSet
from solo_adv.evaluation import HeadRecipe, accuracy, knn_accuracy, train_head_on_features
from solo_adv.support.errors import UserError

FEATURES = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
RECIPE = HeadRecipe(epochs=1, min_updates=1)


def knn(features, labels):
    return knn_accuracy(FEATURES, LABELS, features, labels, k=1)


def knn_trained(features, labels):
    return knn_accuracy(features, labels, FEATURES, LABELS, k=1)


def head(features, labels):
    return train_head_on_features(features, labels, num_classes=3, recipe=RECIPE, seed=0)


# kind, features, labels, the remedy in the message
REFUSED = [
    ("maps of one pixel", FEATURES[:, :, None, None], LABELS, r"features.flatten\(1\)"),
    ("maps", torch.rand(6, 4, 2, 2), LABELS, r"features.mean\(dim=\(2, 3\)\)"),
    ("a single vector", FEATURES[0], LABELS, r"shape \(N, D\); got \(4,\)"),
    ("whole numbers", FEATURES.long(), LABELS, r"Give features.float\(\)"),
    ("one-hot", FEATURES, F.one_hot(LABELS), r"labels.argmax\(dim=1\) for one-hot"),
    ("soft labels", FEATURES, F.one_hot(LABELS).float(), r"labels.argmax\(dim=1\) for one-hot"),
    ("a column", FEATURES, LABELS[:, None], r"labels.flatten\(\)"),
    ("float labels", FEATURES, LABELS.float(), r"labels.long\(\)"),
    ("too few labels", FEATURES, LABELS[:5], "There are 5 .*labels for 6 rows"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
@pytest.mark.parametrize("call", [knn, knn_trained, head, accuracy])
def test_features_and_labels(call, row):
    _, features, labels, message = row
    with pytest.raises(UserError, match=message) as caught:
        call(features, labels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
def test_other_whole_numbers_are_accepted(kind):
    assert knn(FEATURES, LABELS.to(kind)) == (1.0, 1.0)


PIXELS = torch.zeros(6, 3, 2, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (PIXELS.float(), LABELS, r"must be uint8; got torch.float32. Give \(255 \* images\)"),
        (PIXELS.long(), LABELS, "must be uint8; got torch.int64"),
        (PIXELS.permute(0, 2, 3, 1), LABELS, r"Give images.permute\(0, 3, 1, 2\)"),
        (PIXELS[:, :1], LABELS, r"shape \(N, 3, H, W\)"),
        (PIXELS, F.one_hot(LABELS), "labels of toy must be class numbers"),
        (PIXELS, LABELS[:3], "There are 3 labels of toy for 6 rows"),
    ],
)
def test_image_sets(images, labels, message):
    with pytest.raises(UserError, match=message):
        ImageSet("toy", labels, images=images)
