"""AutoAttack, the field's standard ensemble of attacks, by pyautoattack. It can be resumed.

The attacks, their settings and their order are pyautoattack's: APGD on the cross-entropy, targeted
APGD on the DLR loss, targeted FAB, Square. This file only forms the batches, as
``AutoAttack.run_standard_evaluation`` does, so that several processes can share them, and saves
every verdict. (If pyautoattack itself resumes, it forms new batches of the survivors, so that a
resumed run has another result.)

Source:
    Croce and Hein 2020, https://arxiv.org/abs/2003.01690; https://github.com/fra31/auto-attack
"""

import json
import logging
import math
import time
from dataclasses import asdict, astuple, dataclass, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solo_adv.adversaries import Ball
from solo_adv.encoders.classifier import frozen, predict
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.judging import admitted, by_class, correct_as_they_are
from solo_adv.report.measurement import AUTOATTACK, Measurement
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.fingerprints import fingerprint, model_fingerprint
from solo_adv.support.processes import merged, rank, world_size
from solo_adv.support.progress import track
from solo_adv.support.random_state import random_state_kept

STEPS = 100
MAX_TARGETS = 9
STANDS, WRONG = -1, -2
_LOG = logging.getLogger("auto-attack")  # pyautoattack's
SQUARE_SHARE = 0.002
"""If Square alone breaks more than this share of all images, a note warns, as pyautoattack does."""


def evaluate_autoattack(
    bench: Bench,
    *,
    epsilon: float | str,
    norm: str = "linf",
    directory: Path | None = None,
) -> Measurement:
    """Measure the accuracy under AutoAttack ``standard``.

    An image counts only if it is classified correctly without attack and after all four attacks.
    The verdicts are those of ``AutoAttack(..., seed=seed).run_standard_evaluation`` with this batch
    size, up to rounding if ``bench.crafting`` folds or compiles the network. All passes are
    computed in float32, even if ``bench.crafting`` says otherwise.

    With fewer than ten classes, each class but the true one is a target. The DLR loss needs three
    classes, and its targeted form needs four. With three classes, APGD therefore uses the plain DLR
    loss, and with two it uses the cross-entropy only.

    Args:
        bench: the classifier and the images.
        epsilon: radius of the ball, as :meth:`Ball.length` takes it, such as ``"8/255"``.
        norm: norm of the ball, a key of ``NORMS``.
        directory: where the state is saved after every batch. A killed evaluation continues from it
            and ends with the same result. None saves nothing.

    Raises:
        UserError: a setting is out of range, part of the classifier is in training mode, there is
            no image, or the state on disk is damaged or belongs to another evaluation.
    """
    ball = Ball(norm, epsilon)
    if ball.epsilon == 0:
        raise UserError("AutoAttack needs an epsilon above 0; accuracy at 0 is clean accuracy.")
    bench.check()
    with frozen(bench.classifier), random_state_kept(bench.device), _Warnings() as warnings:
        num_classes = _inspected(bench)
        network = bench.network_of_attacks(precision="32-true")
        ensemble = _ensemble(network, ball, num_classes, bench.device, bench.seed)
        names = _attack_names(num_classes)
        key = fingerprint(
            model_fingerprint(bench.classifier),
            bench.images.fingerprint(),
            astuple(ball),
            names,
            bench.batch_size,
            bench.seed,
            metadata.version("pyautoattack"),
        )
        state = State.load(directory, key, len(bench.images), len(names))
        if not state.begun:
            right = correct_as_they_are(bench)
            state.verdicts = torch.where(right, STANDS, WRONG).tolist()
        excess = 0.0
        while state.attack < len(names):
            left = _run_attack(
                bench,
                names[state.attack],
                state,
                ensemble=ensemble,
                ball=ball,
                directory=directory,
            )
            excess = max(excess, left)
    notes = [f"pyautoattack warns: {warning}" for warning in sorted(warnings)]
    if excess > 0:
        notes.append(
            f"Perturbations left the threat model by up to {excess:g} and were projected back."
        )
    result = _result(state, names, ball=ball, num_classes=num_classes, notes=notes)
    return replace(result, classes=by_class(bench, torch.tensor(state.verdicts) == STANDS))


@dataclass
class State:
    """How far an evaluation has come."""

    fingerprint: str
    verdicts: list[int]
    """For each image ``STANDS`` (still correct), ``WRONG`` (wrong without attack), or the number of
    the attack that broke it. The list is empty before the evaluation has begun."""
    attack: int = 0
    """Number of the current attack, from 0."""
    batches: int = 0
    """How many batches of the current attack are done."""
    seconds: float = 0.0
    """How long the attacks took so far."""

    @property
    def begun(self) -> bool:
        """Whether it is known which images are right without attack."""
        return bool(self.verdicts)

    def save(self, directory: Path | None) -> None:
        """Let the first process write the state into ``directory``; None writes nothing."""
        if directory is not None and rank() == 0:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                content = json.dumps(asdict(self)).encode()
                write_whole(_path(directory, self.fingerprint), content)
            except OSError as error:
                raise UserError(
                    f"Cannot write AutoAttack's state into '{directory}' ({error.strerror}). "
                    "Choose another directory."
                ) from error

    @classmethod
    def load(cls, directory: Path | None, key: str, images: int, attacks: int) -> "State":
        """Load the state of the evaluation with the fingerprint ``key``, or make a new one.

        Args:
            directory: where the state was saved; None makes a new one.
            key: fingerprint of the evaluation.
            images: number of images.
            attacks: number of attacks.

        Raises:
            UserError: the file is damaged, or belongs to another evaluation.
        """
        path = None if directory is None else _path(directory, key)
        if path is None or not path.exists():
            return cls(key, [])
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            state = cls(**{field.name: held[field.name] for field in fields(cls)})
            whole = len(state.verdicts) == images and 0 <= state.attack <= attacks
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole or state.fingerprint != key:
            raise UserError(
                f"{path} is damaged, or the state of another evaluation (other weights, images or "
                "settings). Delete it to start again."
            )
        return state


def _run_attack(
    bench: Bench,
    name: str,
    state: State,
    *,
    ensemble: Any,
    ball: Ball,
    directory: Path | None,
) -> float:
    """Finish the current attack.

    Returns:
        How far perturbations lay outside the threat model; 0 if none did.
    """
    verdicts = torch.tensor(state.verdicts)
    # The images that stood when this attack began, including those that it has broken since: the
    # batches must be the same after a restart.
    places = ((verdicts == STANDS) | (verdicts == state.attack)).nonzero().squeeze(1)
    rounds = range(state.batches, math.ceil(len(places) / bench.batch_size), world_size())
    mine = bench.my_batches(places, first=state.batches)
    excess = 0.0
    stage = f"{AUTOATTACK} at {ball.text}, {name}"
    for done in track(rounds, stage, len(rounds)):
        begun = time.perf_counter()
        broken = torch.zeros(len(verdicts), dtype=torch.long)
        batch = next(mine, None)
        if batch is not None:
            attacked = _attack(ensemble, name, batch.images, batch.labels)
            judged, beyond = admitted(batch.images, attacked, ball)
            excess = max(excess, beyond.item())
            wrong = predict(bench.classifier, judged) != batch.labels
            broken[batch.places] = wrong.long().cpu()
        verdicts[merged(broken) > 0] = state.attack
        state.verdicts = verdicts.tolist()
        state.batches = done + world_size()
        state.seconds += time.perf_counter() - begun
        state.save(directory)
    state.attack, state.batches = state.attack + 1, 0
    state.save(directory)
    return excess


def _attack(ensemble: Any, name: str, images: Tensor, labels: Tensor) -> Tensor:
    """Run one attack on one batch. As in pyautoattack, it is seeded for each batch."""
    attack = {
        "apgd-ce": ensemble.apgd,
        "apgd-dlr": ensemble.apgd,
        "apgd-t": ensemble.apgd_targeted,
        "fab-t": ensemble.fab,
        "square": ensemble.square,
    }[name]
    attack.seed = ensemble.get_seed()
    if attack is ensemble.apgd:
        attack.loss = name.removeprefix("apgd-")
    with torch.no_grad():
        attacked = torch.as_tensor(attack.perturb(images.contiguous(), labels))
    return _channels_last(attacked)


def _ensemble(
    classifier: nn.Module, ball: Ball, num_classes: int, device: torch.device | str, seed: int
) -> Any:
    # pyautoattack is imported only when it is needed.
    from pyautoattack import AutoAttack  # type: ignore[import-untyped]  # noqa: PLC0415

    def network(images: Tensor) -> Tensor:
        # pyautoattack flattens images in ways that need contiguous NCHW, but the network is faster
        # in channels_last.
        return torch.as_tensor(classifier(_channels_last(images)))

    ensemble = AutoAttack(
        network,
        norm=ball.autoattack,
        eps=ball.epsilon,
        device=device,
        seed=seed,
        version="standard",
    )
    targets = min(MAX_TARGETS, num_classes - 1)
    ensemble.apgd_targeted.n_target_classes = ensemble.fab.n_target_classes = targets
    # run_standard_evaluation sets these attributes before it attacks with FAB.
    ensemble.fab.targeted, ensemble.fab.n_restarts = True, 1
    return ensemble


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _attack_names(num_classes: int) -> list[str]:
    if num_classes > 3:
        return ["apgd-ce", "apgd-t", "fab-t", "square"]
    return ["apgd-ce", *(["apgd-dlr"] if num_classes == 3 else []), "fab-t", "square"]


def _inspected(bench: Bench) -> int:
    """The number of classes, found by pyautoattack's checks of the classifier on one batch.

    The checks write warnings to pyautoattack's log.
    """
    from pyautoattack import checks  # noqa: PLC0415

    first = range(min(bench.batch_size, len(bench.images)))
    images, labels = next(replace(bench, images=bench.images.subset(list(first))).batches())
    checks.check_randomized(bench.classifier, images, labels, bs=bench.batch_size, logger=_LOG)
    with torch.no_grad():
        checks.check_dynamic(bench.classifier, images, False, logger=_LOG)
    return int(checks.check_range_output(bench.classifier, images, logger=_LOG))


def _result(
    state: State, names: list[str], *, ball: Ball, num_classes: int, notes: list[str]
) -> Measurement:
    total = len(state.verdicts)
    broken_by = {name: state.verdicts.count(number) for number, name in enumerate(names)}
    if num_classes <= 3:
        notes.append(
            f"With {num_classes} classes there is no targeted DLR loss: this is "
            f"{', '.join(names)} instead of AutoAttack standard."
        )
    if broken_by["square"] > SQUARE_SHARE * total:
        notes.append(
            f"Square, which needs no gradient, broke {broken_by['square']} images that all "
            "gradient attacks had left: gradients may be masked, and the accuracy too high."
        )
    return Measurement(
        name=AUTOATTACK,
        correct=state.verdicts.count(STANDS),
        total=total,
        settings={**asdict(ball), "steps": STEPS},
        notes=tuple(notes),
        details=broken_by,
        seconds=round(state.seconds, 3),
    )


def _path(directory: Path, key: str) -> Path:
    return directory / f"autoattack-{key}.json"


class _Warnings(logging.Handler):
    """Collects pyautoattack's warnings, with figures replaced by N because they differ by batch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: set[str] = set()
        self.logger = _LOG

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().split(" See flags_doc.md")[0]
        self.found.add("".join("N" if c.isdigit() else c for c in text))

    def __enter__(self) -> set[str]:
        self.logger.addHandler(self)
        self.propagated, self.logger.propagate = self.logger.propagate, False
        return self.found

    def __exit__(self, *_: object) -> None:
        self.logger.removeHandler(self)
        self.logger.propagate = self.propagated
