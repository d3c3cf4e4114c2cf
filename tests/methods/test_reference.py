"""``preset=reference`` takes the same updates as the paper's reference code, in float64."""

import copy

import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import OmegaConf
from torch import nn

from solo_adv import METHODS
from solo_adv.methods.completion import PRESETS
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg
from tests.methods import reference
from tests.methods.conftest import BATCH, CLASSES, SIZE

EPOCHS, BATCHES = 2, 2
VIEWS = {
    **dict.fromkeys(("emp_ssl", "robust_emp", "cfamc"), 3),
    **dict.fromkeys(("simclr", "robust_simclr", "simclr_freeadv", "supervised_freeadv"), 2),
}
LABELS = (torch.arange(BATCHES * BATCH) % CLASSES).split(BATCH)
SMALL = [
    *("data=cifar10", f"crops.size={SIZE}", "+backbone.kwargs.width=4"),
    *("+backbone.kwargs.layers=[1,1,1,1]", "method_kwargs.proj_hidden_dim=16"),
    *("method_kwargs.proj_output_dim=8", f"max_epochs={EPOCHS}", f"optimizer.batch_size={BATCH}"),
    f"optimizer.lr={reference.LR * 256 / BATCH}",  # the config's rate is for a batch of 256
]


class Network(nn.Module):
    """A method's backbone and projector as one network from pixels to embeddings."""

    def __init__(self, method):
        super().__init__()
        self.backbone, self.projector = method.backbone, method.projector

    def forward(self, pixels):
        return self.projector(self.backbone(pixels))[1]


class Recorder(Callback):
    """Records a method's updates as :class:`reference.Run` does."""

    def __init__(self, method):
        self.taken = []
        updated = method.updated

        def watched(batch, delta):
            out, update = updated(batch, delta)
            self.seen = (
                method.objective(update).total.detach(),
                None if delta is None else delta.detach().clone(),
            )
            return out, update

        method.updated = watched

    def on_before_optimizer_step(self, trainer, method, optimizer):
        network = Network(method)
        gradients = {name: weight.grad.clone() for name, weight in network.named_parameters()}
        before = {name: value.clone() for name, value in network.state_dict().items()}
        self.taken.append(reference.Taken(*self.seen, gradients, before))


@pytest.fixture
def crops():
    """The crops of all batches: (EPOCHS * BATCHES, three views, B, 3, h, w)."""
    generator = torch.Generator().manual_seed(1)
    shape = (EPOCHS * BATCHES, 3, BATCH, 3, SIZE, SIZE)
    return torch.rand(shape, dtype=torch.float64, generator=generator)


@pytest.fixture
def trained(fit, crops):
    """A function that takes our updates and the reference's on the same crops and weights.

    It returns two lists, ours and the reference's. Each has the updates, then weights and buffers
    after the last one, then the perturbation for the next batch.
    """

    def trained(name, *overrides):
        torch.manual_seed(0)
        drawn = crops[:, : VIEWS[name]]
        cfg = parse_cfg(composed(name, [*SMALL, f"crops.num_crops={VIEWS[name]}", *overrides]))
        cfg.data.num_classes = CLASSES
        method = METHODS[name](cfg).double()
        run = reference.Run(Network(copy.deepcopy(method)).train(), EPOCHS * BATCHES)

        batches = iter(drawn.flatten(1, 2))
        method.crops = lambda images: next(batches).clone()
        recorder = Recorder(method)
        fit(method, batches=BATCHES, precision="64-true", callbacks=[recorder])
        for views, labels in zip(drawn, EPOCHS * LABELS, strict=True):
            getattr(reference, name)(run, list(views), labels)
        carried = getattr(method.adversary, "delta", None)
        return (
            [*recorder.taken, Network(method).state_dict(), carried],
            [*run.taken, run.network.state_dict(), run.delta],
        )

    return trained


@pytest.mark.parametrize("name", VIEWS)
def test_the_preset_is_the_reference(trained, name):
    ours, theirs = trained(name, "preset=reference")
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)
    *updates, after, _ = ours
    moved = after["backbone.conv1.weight"] - updates[0].before["backbone.conv1.weight"]
    assert moved.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("robust_emp", "adversary.accumulate_gradients=false"),
        ("robust_emp", "adversary.batch_norm=train_frozen"),
        ("cfamc", "adversary.clamp_before_forward=true"),
        ("cfamc", "scheduler.name=warmup_cosine"),
        ("simclr", "adversary.forward=joint"),
        ("robust_simclr", "adversary.self_view=once"),
        ("simclr_freeadv", "adversary.forward=joint"),
    ],
)
def test_every_option_of_the_preset_is_needed(trained, name, other):
    known = composed(name, SMALL)
    options = [
        f"{key}={value}"
        for key, value in PRESETS["reference"].items()
        if OmegaConf.select(known, key) is not None
    ]
    ours, theirs = trained(name, *options, other)  # the last override of a key counts
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
