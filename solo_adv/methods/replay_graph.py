"""A whole replay as one graph: attack, passes, optimiser step and update of the perturbation.

``performance.graph=replay`` records the work that a replay gives the device and then launches it
as a whole, so that Python no longer issues it kernel by kernel. A graph repeats operations on the
same addresses with the same numbers. Therefore a batch is copied into tensors that stay, the
learning rates and the progress of the run are tensors, and the graph is recorded anew whenever
something else that it depends on has changed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from solo_adv.adversaries import Adversary
from solo_adv.methods.tensor_rates import TensorRates
from solo_adv.support.errors import UserError

WARM_UP = 3
"""Replays that run before one is recorded. They make the optimiser's state, the perturbation, plans
and workspaces, none of which may be made while recording."""
PATIENCE = 5
"""After so many replays in a row that changed what a recording depends on, the run is refused."""


class Replayed(NamedTuple):
    """What a replay of one batch computed, without gradient."""

    terms: dict[str, Tensor]
    """The loss and its terms."""
    probe: dict[str, Tensor]
    """Loss and accuracy of the online classifier."""
    features: Tensor
    """The backbone's features."""
    z: Tensor
    """The embeddings of one view (B, D)."""

    def copied(self) -> "Replayed":
        """Copies of the tensors, which the next launch of the graph does not overwrite."""
        terms, probe = ({k: v.clone() for k, v in named.items()} for named in self[:2])
        return Replayed(terms, probe, self.features.clone(), self.z.clone())


Work = Callable[[], Replayed]


class Recorder(Protocol):
    """How a kind of device runs and records work."""

    def run(self, work: Work) -> Replayed:
        """Do the work as the recording will do it."""

    def record(self, work: Work) -> tuple[Replayed, Callable[[], None]]:
        """Record the work without doing it.

        Returns:
            The tensors that hold the results after every launch, and a function that launches.
        """


class CudaRecorder:
    """Records CUDA graphs, on a stream of its own on which the warm-up runs, too."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def run(self, work: Work) -> Replayed:
        """Do the work on the stream."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            done = work()
        current.wait_stream(self.stream)
        return done

    def record(self, work: Work) -> tuple[Replayed, Callable[[], None]]:
        """Record the work as a CUDA graph, whose memory is its own."""
        graph = torch.cuda.CUDAGraph()
        # Threads of loaders may call CUDA meanwhile, which the usual mode forbids.
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            done = work()
        return done, graph.replay


RECORDERS: dict[str, Callable[[torch.device], Recorder]] = {"cuda": CudaRecorder}
"""The recorder of each type of device that has graphs."""


def check_device(device: torch.device, processes: int = 1) -> None:
    """Refuse a device without graphs, and several processes.

    Raises:
        UserError: one of them is the case.
    """
    if device.type not in RECORDERS:
        raise UserError(
            f"performance.graph=replay records CUDA graphs, and this run is on {device.type}: use "
            "a CUDA device, or performance.graph=none."
        )
    if processes > 1:
        raise UserError(
            f"performance.graph=replay works in one process, and this run has {processes}: use "
            "devices=1, or performance.graph=none."
        )


class ReplayGraph:
    """Takes the replays of batches, the first ones ordinarily and the others as a graph.

    Args:
        replay: takes a batch as tensors by name, and a function that steps the optimiser. It must
            do the same operations each time that it is called, and change tensors in place only.
            An adversary that replaces its tensors in every replay is refused when it has done so.
        optimizer: Lightning's optimiser, or torch's.
        name: its name, a key of ``optim.OPTIMIZERS``.
        adversary: the adversary, whose tensors the replay changes in place.
        device: where everything is.
    """

    def __init__(
        self,
        replay: Callable[[Mapping[str, Tensor], Callable[[], None]], Replayed],
        optimizer: Any,
        name: str,
        adversary: Adversary,
        device: torch.device,
    ) -> None:
        check_device(device)
        self._replay = replay
        self._optimizer = optimizer
        self._adversary = adversary
        self._rates = TensorRates(getattr(optimizer, "optimizer", optimizer), name, device)
        self._recorder = RECORDERS[device.type](device)
        self._inputs: dict[str, Tensor] = {}
        self._depends_on: Any = None
        self._held: list[Tensor] = []
        self._changes = 0
        self._warm_up = WARM_UP
        self._recorded: tuple[Replayed, Callable[[], None]] | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether the next replay launches a graph, if nothing changes before it."""
        return self._recorded is not None

    def begin(self, batch: Mapping[str, Tensor]) -> None:
        """Copy a batch, tensors by name, to where the replays read it."""
        if _layout(batch) != _layout(self._inputs):
            self._inputs = {name: tensor.clone() for name, tensor in batch.items()}
            self._forget()
            return
        for name, tensor in batch.items():
            self._inputs[name].copy_(tensor)

    def __call__(self) -> Replayed:
        """Take one replay of the batch.

        Raises:
            UserError: the adversary replaces its tensors in every replay.
        """
        self._count("_on_before_step")
        self._rates.refresh()
        if self._state() != self._depends_on:
            self._forget()
        if self._recorded is None and self._warm_up:
            self._warm_up -= 1
            done = self._recorder.run(self._work)
            self._begin_anew_if_changed()
        else:
            if self._recorded is None:
                self._recorded = self._recorder.record(self._work)
            done, launch = self._recorded
            launch()
        self._count("_on_after_step")
        return done.copied()

    def _work(self) -> Replayed:
        return self._replay(self._inputs, self._rates.step)

    def _forget(self) -> None:
        self._recorded, self._warm_up = None, WARM_UP

    def _begin_anew_if_changed(self) -> None:
        """Warm up again after a replay that changed the state, as the first ones do."""
        if self._state() == self._depends_on:
            self._changes = 0
            return
        self._warm_up, self._changes = WARM_UP, self._changes + 1
        if self._changes > PATIENCE:
            raise UserError(
                f"performance.graph=replay cannot record {type(self._adversary).__name__}: after "
                f"each of {self._changes} replays in a row, the tensors of its state_dict were "
                "others, or its number of steps. Let it write into its tensors (copy_) and take "
                "the same steps, keep the batch size constant, or use performance.graph=none."
            )
        # While the tensors are held, their memory is theirs, and new ones have other addresses.
        self._depends_on, self._held = self._state(), self._tensors()

    def _state(self) -> Any:
        """What a recording depends on besides the batch: the attack's steps, and addresses."""
        return self._adversary.steps_now, [tensor.data_ptr() for tensor in self._tensors()]

    def _tensors(self) -> list[Tensor]:
        held = self._adversary.state_dict().values()
        return [tensor for tensor in held if isinstance(tensor, Tensor)]

    def _count(self, hook: str) -> None:
        """Let Lightning count the step, as its optimiser does when Python steps it."""
        getattr(self._optimizer, hook, lambda: None)()


def _layout(batch: Mapping[str, Tensor]) -> Any:
    return {name: (t.shape, t.stride(), t.dtype, t.device) for name, t in batch.items()}
