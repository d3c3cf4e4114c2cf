"""Everything that passes forward does so on a CUDA device that need not be there.

Tensors of ``FakeTensorMode`` have a device, a dtype and a shape, but no memory. Mixing devices and
reading numbers raise errors, and autocast casts by CUDA's own lists.
"""

from contextlib import ExitStack, contextmanager

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from solo_adv.cost.rehearsal import RehearsedStep
from solo_adv.crops import CropSpec
from solo_adv.crops.packing import NUM_ROWS
from solo_adv.crops.torch import fixed_shape_crops
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation.aggregation import AggregatingEncoder, FixedCrops
from tests.device.devices import ALL_METHODS, BATCH, configured

QUICK = ("cfamc", "dynacl", "deacl_freeadv", "supervised_freeadv")
IN_FLOAT32 = ("_softmax", "_log_softmax", "exp", "log", "nll_loss_forward", "linalg_cholesky_ex")
"""Operations of losses whose results are float32, whatever the network computes in."""
PRODUCTS = ("convolution", "mm", "addmm", "bmm", "baddbmm")


class Dtypes(TorchDispatchMode):
    """Notes the dtypes of what operations compute."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        first = out[0] if isinstance(out, tuple | list) and out else out
        if isinstance(first, torch.Tensor) and first.is_floating_point():
            self.found.setdefault(func.overloadpacket.__name__, set()).add(first.dtype)
        return out

    def of(self, names):
        return set().union(*(self.found.get(name, set()) for name in names))


@contextmanager
def cuda_autocast(enabled):
    """``torch.autocast("cuda")``, which torch refuses where there is no CUDA device."""
    torch.set_autocast_enabled("cuda", enabled)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.set_autocast_cache_enabled(True)


def without_memory():
    """On CUDA, without memory and hence without a GPU; tensors of the CPU must be sent there."""
    context = ExitStack()
    context.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
    context.enter_context(torch.device("cuda"))
    return context


def network(method):
    """A step of a method without memory, in the context in which it is made."""
    cfg = configured(method)
    with without_memory():
        return RehearsedStep(cfg, BATCH, device="cuda")


@pytest.mark.parametrize("low", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "method", [m if m in QUICK else pytest.param(m, marks=pytest.mark.slow) for m in ALL_METHODS]
)
def test_views_pass_through_network_and_loss(method, low):
    made = network(method)
    objective = made.method.objective
    with without_memory(), cuda_autocast(low):
        with Dtypes() as of_network:
            crops = made.method.crops(made.batch[1][0])
            batch = made.method.batch_of(crops, made.batch[2], made.batch[0])
            delta = torch.zeros_like(batch.attacked) if objective.needs_twins else None
            out, update = made.method.updated(batch, delta)
        with Dtypes() as of_loss:
            terms = [*objective(update), objective.crafting(update)]
    assert of_network.of(PRODUCTS) == {torch.bfloat16 if low else torch.float32}
    assert of_loss.of((*PRODUCTS, *IN_FLOAT32)) <= {torch.float32, torch.float64}
    assert {term.dtype for term in terms} == {torch.float32}
    shown = [value for value in update if isinstance(value, torch.Tensor)]
    assert {value.device.type for value in (*terms, *out.values(), *shown)} == {"cuda"}


def test_crops_in_one_graph():
    with without_memory():
        images = torch.zeros(3, 3, 20, 24, dtype=torch.uint8)
        settings = torch.zeros(NUM_ROWS, 2, 3)
        crops = fixed_shape_crops(images, settings, size=16, interpolation="bilinear")
        assert crops.shape == (6, 3, 16, 16)
        assert crops.device.type == "cuda"
        with pytest.raises(RuntimeError, match="device"):
            fixed_shape_crops(images, settings.cpu(), size=16, interpolation="bilinear")


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_classifier_of_crops(precision):
    made = network("cfamc").method.eval()
    crops = FixedCrops(CropSpec(num_crops=2, size=16), seed=0)
    encoder = AggregatingEncoder(made.backbone, crops, space="crop", max_crops=4)
    with without_memory(), torch.no_grad(), cuda_autocast(precision == torch.bfloat16):
        classifier = Classifier(encoder, torch.nn.Linear(made.features_dim, 10))
        with Dtypes() as dtypes:
            logits = classifier(torch.rand(4, 6, 16, 16))
        with pytest.raises(RuntimeError, match="device"):
            classifier(torch.rand(4, 6, 16, 16, device="cpu"))
    assert dtypes.of(PRODUCTS) == {precision}
    assert logits.device.type == "cuda"
