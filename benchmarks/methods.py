"""Methods at equal cost: ``python -m benchmarks.methods --data DIR [--arms NAME ...]``

Trains every arm from nothing to a budget of crop passes that includes teachers and first stages, on
real CIFAR-10 with a ResNet-18 of width 16. Then it fits a linear head to convergence on the
training images, without augmentation, on the backbone's and on the projector's hidden features, and
attacks 1,000 test images with PGD-20 at 4/255 and 8/255, on the cross-entropy and then also on the
margin between logits. A third head, on the backbone's features, is trained on attacked images
(r-LE).

A row of the result file is an arm, a budget, a number of images and a seed. Rows that are there
already are not measured again, training continues where it was stopped, and arms that begin with
the same run share it, so the benchmark can be killed at any time. If an arm fails, the next one
runs, and the command ends with an error. Several processes can fill one result file, for instance
on one GPU: give each of them arms of its own, and arms that share a teacher to the same one.

``--round 1`` trains every arm with 0.6 M crop passes on 10,000 images, ``--round 2`` the best four
and ``cfamc`` with 1.2 M and two seeds, and ``--round 3`` the best two and ``cfamc`` with 5 M on all
images. ``--data digits`` rehearses on the packaged digits.
"""

import argparse
import fcntl
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

import solo_adv
from benchmarks.judging import BOTH, EPSILONS, TEST_IMAGES, cell, judged, judged_by_robust_head
from benchmarks.record import RESULTS, device, store
from solo_adv.adversaries import Fast
from solo_adv.cost.work import IMAGES, passes_of_batch
from solo_adv.data import ImageSet
from solo_adv.data.labelled import load_labelled
from solo_adv.encoders.checkpoint import read_checkpoint
from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import Supervised
from solo_adv.pretrained import file_of, load_pretrained
from solo_adv.reproduce.plan import composed
from solo_adv.support.checks import choice
from solo_adv.support.cli import quiet_libraries, user_errors
from solo_adv.support.environment import hardware
from solo_adv.support.errors import RunStopped, UserError
from solo_adv.support.fingerprints import fingerprint
from solo_adv.support.progress import say
from solo_adv.support.settings import plain
from solo_adv.training.config import parse_cfg
from solo_adv.training.pretraining import pretrain
from solo_adv.training.runs import comparable, differences, find_finished

DIGITS = Path("digits")
FEATURES = ("backbone", "hidden")
ROBUST_HEAD = "backbone, robust head"


class SupervisedFast(AdversarialMethod):
    """Labels and one step from a noisy start: what the encoder could reach if it had labels."""

    objective_class = Supervised
    adversary_class = Fast
    default_crops = "weak"
    default_attacked_views = AttackedViews(views="all")


OWN_METHODS = {"benchmark_supervised_fast": SupervisedFast}
"""Methods that are known only while this benchmark trains."""


@dataclass(frozen=True)
class Stage:
    """One pretraining run of an arm."""

    method: str
    share: float
    """Its share of the arm's budget."""
    overrides: tuple[str, ...] = ()
    taught: bool = False
    """Whether the stage before it is its teacher."""


NETWORK = ("backbone.name=resnet18", "++backbone.kwargs.width=16", "backbone.stem=cifar")
PROJECTOR = ("method_kwargs.proj_hidden_dim=512", "method_kwargs.proj_output_dim=128")
SHARED = (
    *("optimizer.batch_size=100", "knn_eval.enabled=false", "checkpoint.minutes=3"),
    *("++auto_resume.max_hours=1000000", "log_every_n_steps=50", "+limit_val_batches=0"),
)
COMPARED = (
    *("backbone", "method_kwargs", "optimizer", "scheduler"),
    *("crops", "adversary", "averaging"),
)
"""The sections of a config in which a run that is there already must agree with its row."""
NEAR = 0.02
"""By what share the crop passes of a run may differ from its row's budget."""
PRECISION = "32-true"
"""So that rows of machines with and without bfloat16 units compare."""
EIGHT = ("crops.num_crops=8",)
ANNEALED = (*EIGHT, "crops.anneal.over=0.8", "crops.anneal.scale=0.86")
LARGE_STEP = "adversary.step_size=4/255"
RS_FGSM = {"noise": 1.0, "step": 1.25, "stay_in_ball": True, "views": "all"}
SGD = ("optimizer.lr=0.5", "scheduler.warmup_epochs=0")
BANK = ("teacher.kind=bank",)
PSEUDO_LABELS = (
    *("adversary.steps=2", "adversary.step_size=5/255", "optimizer.lr=0.1"),
    *("scheduler.name=warmup_cosine", "scheduler.warmup_epochs=0", "teacher.clusters=50"),
)
FINE_TUNED = (
    *("optimizer.lr=2e-3", "scheduler.warmup_epochs=0", "crops=weak", "crops.num_crops=1"),
    *("adversary.epsilon=8/255", "adversary.step_size=2/255"),
)
TEACHER = Stage("emp_ssl", 1 / 3, EIGHT)


def cfamc(*overrides: str) -> tuple[Stage, ...]:
    """CF-AMC-SSL with options."""
    return (Stage("cfamc", 1, overrides),)


ARMS: dict[str, tuple[Stage, ...]] = {
    "cfamc": cfamc(*EIGHT),
    "cfamc, annealed crops": cfamc(*ANNEALED),
    "cfamc, step 4/255": cfamc(*EIGHT, LARGE_STEP),
    "cfamc, annealed crops and step 4/255": cfamc(*ANNEALED, LARGE_STEP),
    "emp_ssl, the teacher alone (a third)": (TEACHER,),
    "fare": (TEACHER, Stage("fare", 2 / 3, FINE_TUNED, taught=True)),
    "deacl_fast": (TEACHER, Stage("deacl_fast", 2 / 3, SGD, taught=True)),
    "deacl_freeadv": (TEACHER, Stage("deacl_freeadv", 2 / 3, (*SGD, LARGE_STEP), taught=True)),
    "deacl": (TEACHER, Stage("deacl", 2 / 3, SGD, taught=True)),
    "deacl_fast, bank": (TEACHER, Stage("deacl_fast", 2 / 3, (*SGD, *BANK), taught=True)),
    "labels, RS-FGSM (ceiling)": (
        Stage(
            "benchmark_supervised_fast",
            1,
            (
                *("method_kwargs.loss=cross_entropy", "optimizer.name=sgd", "optimizer.lr=0.25"),
                *("optimizer.weight_decay=5e-4", "optimizer.kwargs=null"),
                *("crops=weak", "crops.num_crops=1"),
            ),
        ),
    ),
    "cfamc, twin views": cfamc(
        "crops.num_crops=4", "adversary.views=twins", "adversary.forward=joint"
    ),
    "cfamc, averaged weights": cfamc(*EIGHT, "averaging.decay=0.99"),
    "cfamc, epsilon rises over half": cfamc(*EIGHT, "adversary.ramp=0.5"),
    "cfamc, a step more in the last third": cfamc(*EIGHT, "adversary.late_steps=1"),
    "cfamc, annealed crops and step 4/255, then pseudo-labels": (
        Stage("cfamc", 3 / 4, (*ANNEALED, LARGE_STEP)),
        Stage("dynacl_pp", 1 / 4, PSEUDO_LABELS, taught=True),
    ),
    "dynacl": (Stage("dynacl", 1, ("optimizer.batch_size=256", "scheduler.warmup_epochs=0")),),
    "acl": (Stage("acl", 1, ("optimizer.batch_size=256", "scheduler.warmup_epochs=0")),),
}
"""The arms, the most telling ones first."""


@dataclass(frozen=True)
class Row:
    """What is measured: an arm at a budget."""

    arm: str
    passes: int
    """Crop passes of all stages together."""
    images: int
    seed: int
    precision: str = PRECISION
    settings: tuple[str, ...] = ()
    """Further overrides of every training, which change nothing but its speed."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells the row from the others, as :func:`key` finds it in the result file."""
        return self.arm, self.passes, self.images, self.seed, self.precision

    def directory(self, stages: Sequence[Stage]) -> str:
        """Name of the directory of the run that these stages end with."""
        words = stages[-1].method
        other = () if self.precision == PRECISION else (self.precision,)
        what = fingerprint(tuple(stages), self.passes, self.images, self.seed, *other)
        return f"{words}-{self.passes}-{self.images}-{self.seed}-{what[:8]}"


def planned(
    row: Row, number: int, data: Path, work: Path, teacher: str | None = None
) -> tuple[DictConfig, str]:
    """The config of a stage of a row, counted from 0, and its precision.

    Args:
        row: the row.
        number: which of its arm's stages.
        data: directory of CIFAR-10, or the digits.
        work: directory of the runs.
        teacher: the checkpoint of the stage before.
    """
    whole = IMAGES["digits" if data == DIGITS else "cifar10"][0]
    images = min(row.images, whole)
    stages = ARMS[row.arm]
    stage = stages[number]
    method: Any = solo_adv.methods.MIXINS[stage.method]
    objective = method.objective_class
    overrides = [
        *(*_source(data), f"data.fraction={images / whole:g}", f"seed={row.seed}"),
        *(*(PROJECTOR if objective.projector else ()), *SHARED, *stage.overrides),
        f"precision={row.precision}",
        f"checkpoint.dir='{work / row.directory(stages[: number + 1])}'",
        *_usable(row.settings, stage),
    ]
    base = _base(stage.method)
    if base != stage.method:
        overrides = [f"method={stage.method}", *overrides]
    cfg = composed(base, overrides)
    if base != stage.method:  # its config has the keys of another adversary
        cfg.adversary = RS_FGSM
    if stage.taught:
        cfg.teacher.checkpoint = teacher
    parsed = parse_cfg(cfg.copy())
    batch = parsed.optimizer.batch_size
    batches = stage.share * row.passes / (passes_of_batch(parsed) * batch)
    cfg.max_epochs = math.ceil(batches / (images // batch))
    cfg.limit_train_batches = round(batches / cfg.max_epochs)
    return cfg, str(parsed.precision)


def _base(method: str) -> str:
    """The method whose config a method of the benchmark takes."""
    return "supervised_freeadv" if method in OWN_METHODS else method


def _source(data: Path) -> list[str]:
    if data == DIGITS:
        return ["data=digits"]
    return ["data=cifar10", "data.format=parquet", f"data.train_path='{data}'", *NETWORK]


def trained(row: Row, data: Path, work: Path) -> tuple[Path, int, str]:
    """Train the stages of a row; return the last checkpoint, all crop passes and the precision."""
    checkpoint, passes, precision = None, 0, ""
    for number in range(len(ARMS[row.arm])):
        cfg, precision = planned(row, number, data, work, checkpoint and str(checkpoint))
        checkpoint = find_finished(parse_cfg(cfg.copy())) or pretrain(cfg)
        assert checkpoint is not None
        passes += read_checkpoint(checkpoint)["solo_adv"]["crop_passes"]
    assert checkpoint is not None
    return checkpoint, passes, precision


def _usable(settings: Sequence[str], stage: Stage) -> list[str]:
    """The settings without CUDA graphs if epsilon rises, because a graph would keep its value."""
    rises = any(override.startswith("adversary.ramp=") for override in stage.overrides)
    left_out = [s for s in settings if rises and s.startswith("performance.graph=")]
    if left_out:
        say(f"{stage.method} with {' '.join(stage.overrides)} runs without {left_out[0]}.")
    return [setting for setting in settings if setting not in left_out]


def trained_before(row: Row, given: str, data: Path) -> tuple[int, str]:
    """The crop passes and the precision of a run or model of the zoo that is to stand for a row.

    Raises:
        UserError: it was trained otherwise than the row says.
    """
    encoder = load_pretrained(given, features="backbone")
    config, passes = encoder.config, encoder.crop_passes or 0
    last = len(ARMS[row.arm]) - 1
    whole = IMAGES[config["data"]["dataset"]][0]
    fraction = config["data"].get("fraction", -1)
    found = {
        "method": config["method"],
        "seed": config.get("seed"),
        "images": whole if fraction == -1 else round(fraction * whole),
        "budget": row.passes if abs(passes - row.passes) < NEAR * row.passes else passes,
    }
    wanted = {
        "method": ARMS[row.arm][last].method,
        "seed": row.seed,
        "images": row.images,
        "budget": row.passes,
    }
    if found != wanted:
        raise UserError(f"--trained {given} has {found}, and the row has {wanted}.")
    teacher = (config.get("teacher") or {}).get("checkpoint")
    asked = comparable(plain(parse_cfg(planned(row, last, data, Path(), teacher)[0])))
    usual = composed(_base(config["method"]), _source(data))
    usual.teacher.checkpoint = teacher
    held = _filled(comparable(config), comparable(plain(parse_cfg(usual))))
    both = [{key: side.get(key) for key in COMPARED} for side in (held, asked)]
    if both[0] != both[1]:
        raise UserError(
            f"--trained {given} was trained with other options than the arm: "
            f"{differences(both[0], both[1])}."
        )
    teaching = " Its teacher is not compared." if teacher else ""
    say(f"{given} agrees with the row in {', '.join((*wanted, *COMPARED))}.{teaching}")
    return passes, str(config["precision"])


def _filled(config: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """A config in which options that did not exist when it was written have their usual values."""
    filled = dict(config)
    for key, value in usual.items():
        if key not in filled:
            filled[key] = value
        elif isinstance(value, Mapping) and isinstance(filled[key], Mapping):
            filled[key] = _filled(filled[key], value)
    return filled


def measured(row: Row, data: Path, work: Path, given: str | None = None) -> dict[str, Any]:
    """Train and judge a row, or judge the run or model of the zoo that is ``given`` for it."""
    begun = time.perf_counter()
    if given is None:
        checkpoint, passes, precision = trained(row, data, work)
        source = str(checkpoint)
    else:
        passes, precision = trained_before(row, given, data)
        source = given
    seconds = None if given else round(time.perf_counter() - begun)
    place = {} if data == DIGITS else {"train_path": str(data)}
    found: dict[str, Any] = {}
    for features in FEATURES:
        if features == "hidden" and "projector" not in _parts(source):
            continue
        encoder = load_pretrained(source, features=features)
        sets = _labelled(json.dumps(encoder.config["data"]), json.dumps(place))
        found[features] = judged(encoder, *sets)
        if features == "backbone":
            found[ROBUST_HEAD] = judged_by_robust_head(encoder, *sets)
    return {
        "arm": row.arm,
        "budget": row.passes,
        "images": row.images,
        "seed": row.seed,
        "crop_passes": passes,
        "seconds": seconds,
        "device": hardware(device())["name"],
        "precision": precision,
        **({"trained": given} if given else {}),
        **({"settings": list(row.settings)} if row.settings else {}),
        **found,
    }


@lru_cache(maxsize=1)
def _labelled(data: str, place: str) -> tuple[ImageSet, ImageSet]:
    """The sets that judge an encoder, kept for the next one because decoding takes long."""
    return load_labelled(json.loads(data), json.loads(place))


def _parts(source: str) -> set[str]:
    """The parts of a checkpoint; a model of the zoo has the features that were published."""
    file = file_of(source)
    if file is None:
        return {"backbone"}
    return {name.partition(".")[0] for name in read_checkpoint(file)["state_dict"]}


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a row of the result file from the others."""
    return row["arm"], row["budget"], row["images"], row["seed"], row["precision"]


def stored(file: Path) -> list[dict[str, Any]]:
    """The rows of a result file; none if there is no such file."""
    rows: list[dict[str, Any]] = json.loads(file.read_text())["rows"] if file.exists() else []
    return rows


def added(found: dict[str, Any], file: Path) -> list[dict[str, Any]]:
    """Write a row into a result file, in the place of the same row if there is one.

    Another process may write to the same file.

    Returns:
        All rows of the file.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        others = []
        for before in stored(file):
            if key(before) != key(found):
                others.append(before)
            else:  # its run was kept and took no time now
                found["seconds"] = max(found["seconds"] or 0, before["seconds"] or 0) or None
        rows = [*others, found]
        store("methods", {"test_images": TEST_IMAGES, "rows": rows}, file)
    finally:
        os.close(directory)  # and release the lock
    return rows


def best(rows: Sequence[dict[str, Any]], budget: int, count: int) -> list[str]:
    """The arms without labels that keep the most accuracy at 8/255, and ``cfamc``.

    Robust heads decide, under both losses. Standard heads do if an arm has no robust head, because
    the two cannot be compared; a line on the standard error says so.
    """
    of_budget = [r for r in rows if r["budget"] == budget and "ceiling" not in r["arm"]]
    lacking = {row["arm"] for row in of_budget if by_robust_head(row) is None}
    lacking -= {row["arm"] for row in of_budget if by_robust_head(row) is not None}
    if lacking:
        say(
            f"Standard heads rank the arms, because {', '.join(sorted(lacking))} lack a robust one."
        )
    scores: dict[str, list[float]] = {}
    for row in of_budget:
        score = robust(row) if lacking else by_robust_head(row)
        if score is not None:  # an arm may have further rows from before robust heads
            scores.setdefault(row["arm"], []).append(score)
    means = {arm: sum(found) / len(found) for arm, found in scores.items()}
    ranked = sorted(means, key=lambda arm: -means[arm])[:count]
    return list(dict.fromkeys([*ranked, "cfamc"]))


def robust(row: dict[str, Any]) -> float:
    """The accuracy at 8/255 on the better features, with heads fitted to convergence."""
    return max(float(row[kind]["8/255"]) for kind in FEATURES if kind in row)


def by_robust_head(row: dict[str, Any]) -> float | None:
    """The accuracy of the robust head at 8/255 under both losses; None if it was not measured."""
    found: float | None = row.get(ROBUST_HEAD, {}).get(f"{EPSILONS[-1]}, {BOTH}")
    return found


def rows_of(round_: int, rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> list[Row]:
    """The rows that a round measures."""
    first, second, third = (options.budget * share // 3 for share in (3, 6, 25))
    usual, whole = 10_000, IMAGES["cifar10"][0]
    passes, images, seeds = {
        1: (first, usual, (1,)),
        2: (second, usual, (1, 2)),
        3: (third, whole, (1,)),
    }[round_]
    if options.arms:
        arms = options.arms
    elif round_ == 1:
        arms = list(ARMS)
    elif round_ == 2:
        arms = best(rows, first, 4)
    else:
        arms = best(rows, second, 2)
    row = partial(Row, precision=options.precision, settings=tuple(options.settings))
    return [
        row(arm, passes, options.images or images, seed)
        for seed in options.seeds or seeds
        for arm in arms
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown, the most robust first, for each budget."""
    lines = [
        f"| arm | images | seed | precision | M passes | features | clean | 4/255 | 8/255 "
        f"| 8/255, {BOTH} |",
        "|---|---:|---:|---|---:|---|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: (row["budget"], -robust(row))):
        for kind in (*FEATURES, ROBUST_HEAD):
            if kind in row:
                names = ("clean", *EPSILONS, f"{EPSILONS[-1]}, {BOTH}")
                found = [row[kind].get(name) for name in names]
                cells = map(cell, found)
                passes = f"{row['crop_passes'] / 1e6:.2f}"
                run = (row["arm"], f"{row['images']:,}", str(row["seed"]), row["precision"])
                told = (*run, passes, kind, *cells)
                lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the rows that are missing, store each at once, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, help="directory of CIFAR-10 as Parquet files, or digits"
    )
    parser.add_argument("--round", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument(
        "--arms", nargs="+", help=f"instead of all, or of the best: {', '.join(ARMS)}"
    )
    parser.add_argument(
        "--budget",
        type=int,
        default=600_000,
        help="crop passes of round 1; round 2 has twice as many, round 3 25/3",
    )
    parser.add_argument(
        "--images", type=int, help="train images; if left out 10,000, and all in round 3"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", help="if left out 1, and 1 and 2 in round 2"
    )
    parser.add_argument(
        "--again", action="store_true", help="judge rows again that are there; runs are kept"
    )
    parser.add_argument(
        "--precision", default=PRECISION, help=f"of training; {PRECISION} if left out"
    )
    parser.add_argument(
        "--settings",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="overrides of every training that change its speed, such as performance.graph=replay",
    )
    parser.add_argument(
        "--trained",
        metavar="RUN",
        help="judge this run or model of the zoo for the row of one arm, instead of training",
    )
    parser.add_argument("--work", type=Path, default=Path("trained_models/benchmark_methods"))
    parser.add_argument("--output", type=Path, default=RESULTS / "methods.json")
    options = parser.parse_args()
    quiet_libraries()
    torch.set_float32_matmul_precision("high")
    for name, method in OWN_METHODS.items():
        if name not in solo_adv.methods.MIXINS:
            solo_adv.add_method(name, method)
    with user_errors():
        for arm in options.arms or ():
            choice("--arms", arm, ARMS)
        held = stored(options.output)
        if options.data is None:
            print(table(held))
            return
        asked = rows_of(options.round, held, options)
        done = set() if options.again else {key(row) for row in held}
        missing = [row for row in asked if row.key not in done]
        if options.trained and len(asked) != 1:
            raise UserError(
                f"--trained stands for one row, and {len(asked)} are asked for: name one of --arms "
                "and one of --seeds."
            )
        failed: list[str] = []
        for number, row in enumerate(missing, 1):
            print(f"{number} of {len(missing)}: {row}", flush=True)
            data = options.data if options.data == DIGITS else options.data.resolve()
            try:
                found = measured(row, data, options.work.resolve(), options.trained)
            except RunStopped:
                raise
            except Exception as error:  # the other arms do not depend on this one
                if len(missing) == 1:
                    raise
                if not isinstance(error, UserError):
                    traceback.print_exc()
                print(f"{row.arm}: {error}", file=sys.stderr, flush=True)
                failed.append(row.arm)
                continue
            held = added(found, options.output)
            print(table([found]), flush=True)
        print(table(held))
        if failed:
            raise UserError(f"Failed: {', '.join(failed)}. The same command tries them again.")


if __name__ == "__main__":
    main()
