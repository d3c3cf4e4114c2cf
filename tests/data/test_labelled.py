"""The sets on which an encoder can be judged."""

import pytest
import torch

from solo_adv.data import ImageSet
from solo_adv.data.labelled import check_labelled
from solo_adv.support.errors import UserError


def images(labels, classes=("ape", "bee", "cat"), name="toy test"):
    count = len(labels)
    pixels = torch.zeros(count, 3, 2, 2, dtype=torch.uint8)
    return ImageSet(name, torch.tensor(labels, dtype=torch.long), classes, images=pixels)


def test_a_test_set_may_lack_classes():
    check_labelled(images([0, 1, 2]), images([2, 1]))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1, 2], [1, 1], "All 2 images of toy test are of the class 'bee'"),
        ([2, 2, 2], [1, 2], "All 3 images of toy train are of the class 'cat'"),
        ([0, 1, 2], [], "toy test holds no image"),
        ([0, 1, 2], [0, -1], "toy test has images without label"),
        ([0, -1, 2], [0, 1], "toy train has images without label"),
    ],
)
def test_sets_that_are_refused(train, test, message):
    with pytest.raises(UserError, match=message):
        check_labelled(images(train, name="toy train"), images(test))


def test_a_class_without_a_name():
    with pytest.raises(UserError, match="are of the class '1'"):
        check_labelled(images([0, 1], ()), images([1, 1], ()))


def test_other_classes_are_refused():
    with pytest.raises(UserError, match="have different classes"):
        check_labelled(images([0, 1]), images([0, 1], ("bee", "ape", "cat")))
