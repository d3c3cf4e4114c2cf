"""``performance.graph=replay`` computes what the ordinary step computes.

On CUDA the graphs are real. Elsewhere a tape takes their place (``tape.py``), which repeats
operations on the same addresses, as a graph does.
"""

import pytest
import torch
from lightning.pytorch import Callback

from solo_adv.adversaries import Free
from solo_adv.methods import replay_graph
from solo_adv.support.errors import UserError
from tests.device.devices import ALL_METHODS
from tests.device.tape import PlainRecorder, TapeRecorder
from tests.device.trainers import Watching, fitted

SCHEDULE = (
    *("scheduler.warmup_epochs=0.5", "++scheduler.warmup_start_lr=0.001", "optimizer.lr=2"),
    "precision=32-true",
)
GRAPH = "performance.graph=replay"
QUICK = ("cfamc", "lars")
OTHER_OPTIMIZERS = [("dynacl", name) for name in ("sgd", "adam", "adamw")]
SLOW = [*((method, "lars") for method in ALL_METHODS), *OTHER_OPTIMIZERS]


@pytest.fixture
def record(device, monkeypatch):
    """A function that chooses how replays are recorded where there are no CUDA graphs."""
    monkeypatch.setattr(replay_graph, "WARM_UP", 1)

    def choose(recorder):
        TapeRecorder.launched = 0
        if device != "cuda":
            monkeypatch.setitem(replay_graph.RECORDERS, device, recorder)

    return choose


def options(optimizer):
    usual = () if optimizer == "lars" else ("++optimizer.kwargs=null", "optimizer.lr=0.1")
    return (*SCHEDULE, f"optimizer.name={optimizer}", *usual)


def rates(made):
    return [group["lr"] for group in made.trainer.optimizers[0].param_groups]


def weights(made):
    return torch.cat([p.detach().double().cpu().flatten() for p in made.parameters()])


class Beginning(Callback):
    """Keeps the weights at the beginning of a run."""

    def on_train_start(self, trainer, pl_module):
        self.weights = weights(pl_module)


def state(made):
    (optimizer,) = made.trainer.optimizers
    held = [value for kept in optimizer.state.values() for value in kept.values()]
    delta = getattr(made.adversary, "delta", None)
    return [*made.state_dict().values(), *held, *([] if delta is None else [delta])]


def slowly(cases):
    return [pytest.param(*case, marks=pytest.mark.slow) for case in cases]


def batches(method):
    return 3 if method == "cfamc" else 5  # it has two replays a batch


@pytest.mark.parametrize(
    ("method", "optimizer"), [QUICK, *slowly(case for case in SLOW if case != QUICK)]
)
def test_a_recording_computes_what_calling_the_replay_computes(device, record, method, optimizer):
    if device == "cuda":
        pytest.skip("a CUDA graph rounds as its kernels do; it is compared with the usual step")
    made = []
    for recorder in (TapeRecorder, PlainRecorder):
        record(recorder)
        made.append(fitted(method, device, *options(optimizer), GRAPH, batches=batches(method)))
        assert made[-1]._graph.is_recorded
        assert TapeRecorder.launched > 2
    for recorded, called in zip(*map(state, made), strict=True):
        assert torch.equal(recorded, called)


def test_an_adversary_that_replaces_its_tensors_is_refused(device, record, monkeypatch):
    def replaced(self, crops, delta):
        self.delta = self.stepped(delta, delta.grad, crops).clone()

    monkeypatch.setattr(Free, "update", replaced)
    record(TapeRecorder)
    with pytest.raises(UserError, match=r"cannot record Free: after each of 6 replays.*copy_"):
        fitted("cfamc", device, *options("lars"), GRAPH, batches=4)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "optimizer"), SLOW)
def test_a_recording_computes_what_the_usual_step_computes(device, record, method, optimizer):
    begun = Beginning()
    exact = (*options(optimizer), "precision=64-true")  # lets rounding grow less within the run
    usual = fitted(method, device, *exact, batches=batches(method), callbacks=[begun])
    record(TapeRecorder)
    watch = [] if device == "cuda" else [Watching()]  # recording a CUDA graph waits
    recorded = fitted(method, device, *exact, GRAPH, batches=batches(method), callbacks=watch)
    assert recorded._graph.is_recorded
    assert recorded.trainer.global_step == usual.trainer.global_step
    assert recorded.trainer.callback_metrics.keys() == usual.trainer.callback_metrics.keys()
    assert rates(recorded) == rates(usual)
    way, theirs = (weights(made) - begun.weights for made in (recorded, usual))
    assert (way - theirs).norm() < 1e-3 * theirs.norm()
