import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from solo_adv.data import DataConfig, load_split
from solo_adv.data.datasets import kept_rows


def splits(**options):
    config = DataConfig(dataset="digits", **options)
    return load_split(config, "train"), load_split(config, "test")


def test_counts_and_classes():
    train, test = splits()
    assert train.images.shape == (1297, 3, 16, 16)
    assert test.images.shape == (500, 3, 16, 16)
    assert train.images.dtype == torch.uint8
    assert train.classes == tuple("0123456789")
    assert train.num_classes == 10
    counts = test.labels.bincount()
    assert counts.min() >= 47
    assert counts.max() <= 52
    assert train.name == "digits train"


def test_splits_are_disjoint_and_whole():
    train, test = splits(image_size=8)
    seen = torch.cat([train.images, test.images])[:, 0].reshape(1797, -1).numpy()
    all_images = np.rint(load_digits().images * 255 / 16).astype(np.uint8).reshape(1797, -1)
    # At 8 pixels nothing is lost, so both splits together are scikit-learn's set.
    assert np.array_equal(
        seen[np.lexsort(seen.T)],
        all_images[np.lexsort(all_images.T)],
    )


def test_labels_belong_to_the_images():
    train, _ = splits(image_size=8)
    digits = load_digits()
    known = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(digits.images, digits.target, strict=True)
    }
    found = [known[image[0].numpy().tobytes()] for image in train.images]
    assert found == train.labels.tolist()


def test_split_does_not_depend_on_the_global_seed():
    np.random.seed(1)
    torch.manual_seed(1)
    first, _ = splits()
    np.random.seed(2)
    torch.manual_seed(2)
    second, _ = splits()
    assert torch.equal(first.images, second.images)
    assert first.fingerprint() == second.fingerprint()


def test_channels_are_equal_and_grey_levels_fill_the_range():
    train, _ = splits()
    assert torch.equal(train.images[:, 0], train.images[:, 2])
    assert train.images.min() == 0
    assert train.images.max() == 255


def test_fraction_takes_the_same_part_of_train_only():
    train, test = splits(fraction=0.1)
    again, _ = splits(fraction=0.1)
    assert len(train) == 130
    assert len(test) == 500
    assert torch.equal(train.images, again.images)
    whole, _ = splits()
    assert torch.equal(train.images, whole.images[kept_rows(1297, 0.1)])
    assert not torch.equal(train.images, whole.images[:130])


def test_fractions_are_nested():
    assert set(kept_rows(1000, 0.1)) < set(kept_rows(1000, 0.3))
    assert len(kept_rows(10, 0.001)) == 1
    assert kept_rows(5, -1).tolist() == [0, 1, 2, 3, 4]


def test_no_labels():
    train, _ = splits(no_labels=True)
    assert (train.labels == -1).all()
    assert train.classes == ()
    assert train.num_classes == 1
    assert not train.labelled


def test_fingerprint_sees_pixels_labels_and_order():
    train, _ = splits()
    prints = {train.fingerprint(), train.subset(range(1296, -1, -1)).fingerprint()}
    train.labels[0] = (train.labels[0] + 1) % 10
    prints.add(train.fingerprint())
    train.images[5, 1, 3, 3] ^= 1
    prints.add(train.fingerprint())
    assert len(prints) == 4


def test_subset():
    train, _ = splits()
    part = train.subset([5, 2])
    assert len(part) == 2
    assert torch.equal(part[1][0], train[2][0])
    assert part[0][1] == train[5][1]
    assert part.classes == train.classes


@pytest.mark.parametrize("resident", [True, False])
def test_residence_is_as_asked(resident):
    train, _ = splits(resident=resident)
    reference, _ = splits()
    assert train.resident is resident
    assert torch.equal(train[7][0], reference.images[7])
    assert train[7][1] == reference.labels[7]


def test_auto_residence_follows_the_limit():
    assert splits(max_resident_gib=1297 * 3 * 256 / 2**30)[0].resident
    too_little, _ = splits(max_resident_gib=1296 * 3 * 256 / 2**30)
    assert not too_little.resident
    with pytest.raises(AttributeError, match="streamed"):
        _ = too_little.images
