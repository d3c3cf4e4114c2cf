"""What only a CUDA device has: kernels, CUDA graphs, page-locked memory and streams.

All other checks of a device are in ``tests/device``, which runs on CUDA where there is one.
"""

import pytest
import torch

from solo_adv.data import streaming_loader
from tests.device.devices import never_waiting, step
from tests.device.test_evaluation import image_set

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Ready(torch.nn.Module):
    """Crops that are drawn already, in the place of those that a method draws."""

    def __init__(self, crops):
        super().__init__()
        self.drawn = crops

    def forward(self, images):
        return self.drawn.clone()


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("method", ["cfamc", "robust_emp", "deacl_freeadv"])
def test_a_compiled_step_moves_the_weights_as_an_uncompiled_one(method, mode):
    moved = []
    for compile_ in ("none", mode):
        made = step(method, "cuda", f"performance.compile={compile_}", ready_crops=True)
        made.method.setup("fit")
        crops = torch.rand(8, 3, 16, 16, device="cuda", generator=torch.Generator("cuda"))
        made.method.crops = Ready(crops)
        for _ in range(4):  # CUDA graphs are recorded at the second call and replayed after it
            made()
        moved.append(torch.cat([p.detach().double().flatten() for p in made.method.parameters()]))
    plain, compiled = moved
    assert (compiled - plain).norm() < 0.01 * plain.norm()


def test_streamed_batches_arrive_without_waiting():
    images = image_set(32, 0)
    loader = streaming_loader(
        images,
        batch_size=8,
        shuffle=False,
        drop_last=True,
        num_workers=1,
        device=torch.device("cuda"),
    )
    expected = images.images.split(8)
    with never_waiting("cuda"):
        batches = [views[0] for _, views, _ in loader]
    for batch, there in zip(batches, expected, strict=True):
        assert batch.is_cuda
        assert torch.equal(batch.cpu(), there)
