import pytest
import torch

from solo_adv.crops import join_views

CROPS = torch.arange(4 * 3 * 3 * 5 * 5).view(12, 3, 5, 5).float()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_slices_of_one_tensor_are_joined_without_a_copy(memory_format):
    crops = CROPS.contiguous(memory_format=memory_format)
    joined = join_views(crops.chunk(4))
    assert joined.data_ptr() == crops.data_ptr()
    assert joined.stride() == crops.stride()
    assert joined.equal(CROPS)


def test_slices_of_a_part_of_a_tensor_are_joined_from_their_offset():
    joined = join_views(CROPS[3:9].chunk(2))
    assert joined.data_ptr() == CROPS[3].data_ptr()
    assert joined.equal(CROPS[3:9])


@pytest.mark.parametrize(
    "views",
    [
        list(CROPS.clone().chunk(4))[::-1],
        [CROPS[:3], CROPS[6:9]],
        [CROPS[:3], CROPS[:3]],
        [CROPS[:3].clone(), CROPS[3:6].clone()],
        list(CROPS.view(3, 4, 3, 5, 5).unbind(1)),
        [CROPS[:3]],
    ],
    ids=["other order", "gap", "twice the same", "separate", "interleaved", "single"],
)
def test_views_that_are_not_adjacent_in_memory_are_copied(views):
    assert join_views(views).equal(torch.cat(views))


def test_gradients_reach_their_view():
    crops = CROPS.clone().requires_grad_()
    join_views(crops.chunk(4)).square().sum().backward()
    assert crops.grad.equal(2 * CROPS)
