"""The CPU's work in a step, as the number of operations that it hands to the device.

On a GPU an operation costs the CPU some microseconds, however many crops it computes. So the
number must not grow with images and crops, as it would with a loop over them in Python, and it must
stay near that of the network's own passes, which nothing can avoid. ``benchmarks.overhead``
measures in seconds what Lightning adds.
"""

import pytest
import torch

from solo_adv.crops import CropSpec, build
from tests.device.counting import operations_of
from tests.device.devices import ALL_METHODS, step

TINY = "+backbone.kwargs.layers=[1,1,1,1]"
QUICK = ("cfamc", "dynacl")
BY_VIEW = ("simclr",)
"""Methods that pass every view through the network by itself, as solo-learn does."""
REST = 1.0
"""How many operations a step may have besides its passes and its optimiser, for each one in the
passes: those of the attack, the loss, the average of the weights and the online classifier."""
CROPS = 24 * 4 * 12
"""Upper bound on the operations that cut any number of crops. Crops are sorted by the order of
their four changes of colour, of which there are 24, and each change is a dozen operations."""


def made(method, images, crops):
    settings = (TINY, f"crops.num_crops={crops}", f"optimizer.batch_size={images}")
    rehearsed = step(method, "cpu", *settings, ready_crops=True, images=images)
    rehearsed()  # the first step makes the optimiser's state and the perturbation
    return rehearsed


def of_a_pass(method):
    """Operations of one pass of the network, forward and backward."""
    pixels = torch.rand(8, 3, method.spec.size, method.spec.size)
    return operations_of(lambda: method(pixels)["z"].sum().backward()).total()


@pytest.mark.parametrize(
    "method", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in ALL_METHODS]
)
def test_operations_of_a_step_do_not_grow_with_images_and_crops(method):
    few = made(method, images=4, crops=2)
    found = operations_of(few)
    if method not in BY_VIEW:
        assert operations_of(made(method, images=7, crops=4)) == found
    views = 2 if few.method.attacked_views.forward != "joint" else 1
    passes = views * few.method.adversary.passes + 1  # one more for a teacher
    optimiser = few.method.adversary.replays * operations_of(few.optimizer.step).total()
    assert found.total() - optimiser < (1 + REST) * passes * of_a_pass(few.method)


@pytest.mark.parametrize("count", [12, 100])
def test_operations_that_cut_crops_are_bounded(count):
    images = torch.zeros(count, 3, 16, 16, dtype=torch.uint8)
    crops = build(CropSpec.preset("multi_crop", num_crops=8, size=16), seed=0)
    assert 0 < operations_of(lambda: crops(images)).total() < CROPS
