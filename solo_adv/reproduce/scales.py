"""The sizes at which rows run: as in the paper, on a CPU with real images, or tiny on digits."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from omegaconf import DictConfig

from solo_adv.reproduce.rows import CIFAR, ROWS, Row
from solo_adv.support.checks import choice, flag, whole
from solo_adv.support.configs import composed
from solo_adv.support.errors import UserError

YARDSTICK_ROW = "cfamc_m3"
"""The row whose run has the whole budget if budgets are proportional."""
PASSES = 1_000_000
"""Crop passes of a run at the scale ``small``."""
_MANY_EPOCHS = 100


@dataclass(frozen=True)
class Full:
    """The sizes of the paper."""

    name = "full"
    covers = True
    """Whether evaluations that contain others are judged on as many images as those."""

    @property
    def words(self) -> list[str]:
        """The options of the command line that choose this scale."""
        return ["--scale", self.name]

    def label(self, dataset: str) -> str:
        """The part of a run's name that says on what and at which size it was trained."""
        return dataset

    def pretraining(
        self, row: Row, dataset: str, data: Sequence[str], further: Sequence[str]
    ) -> list[str]:
        """The overrides that set the size of a run.

        Args:
            row: the row.
            dataset: the paper's data set.
            data: overrides that say where the data lie.
            further: all overrides besides these, on which the number of batches may depend.
        """
        size = (f"crops.num_crops={row.num_crops}", f"max_epochs={row.epochs}")
        return [f"data={dataset}", *data, *size]

    def judging(self, overrides: Sequence[str]) -> list[str]:
        """The overrides of an evaluation at this size."""
        return list(overrides)


FULL = Full()


class Tiny(Full):
    """Small networks and short runs on handwritten digits."""

    name = "tiny"

    def label(self, dataset: str) -> str:
        return "digits"

    def pretraining(
        self, row: Row, dataset: str, data: Sequence[str], further: Sequence[str]
    ) -> list[str]:
        return [
            *("data=digits", "data.fraction=0.5", "optimizer.batch_size=64"),
            *("backbone.kwargs.width=8", "method_kwargs.proj_hidden_dim=256"),
            *("knn_eval.enabled=false", f"crops.num_crops={tiny_crops(row.num_crops)}"),
            f"max_epochs={tiny_epochs(row.epochs)}",
        ]

    def judging(self, overrides: Sequence[str]) -> list[str]:
        images = 24 if "autoattack=true" in overrides else 100
        return [
            *map(_tiny_crops_of, overrides),
            *("head.batch_size=128", "head.epochs=5", "head.min_updates=60", "head.lr=3e-3"),
            f"max_images={images}",
        ]


@dataclass(frozen=True)
class Small(Full):
    """CIFAR-10 or CIFAR-100 as it is, with a network that two cores can train.

    The network is a ResNet of width 16 with a projector of 512 and 128 dimensions. Method,
    adversary, replays, batch size, crops and number of crops are the row's. Every run has the same
    number of crop passes, as many epochs as that makes, and a cosine over the whole run.

    Args:
        passes: crop passes of a run.
        proportional: whether ``passes`` are those of ``cfamc_m3``, and those of other rows are in
            the paper's proportion to them.
    """

    passes: int = PASSES
    proportional: bool = False

    name = "small"
    covers = False

    def __post_init__(self) -> None:
        whole("--passes", self.passes, 1)
        flag("--proportional", self.proportional)

    @property
    def words(self) -> list[str]:
        series = ["--proportional"] if self.proportional else []
        return [*super().words, "--passes", str(self.passes), *series]

    def label(self, dataset: str) -> str:
        if dataset not in CIFAR:
            raise UserError(
                f"--scale small trains on images of 32 pixels, {' or '.join(CIFAR)}; got "
                f"{dataset}: leave it out with --dataset."
            )
        series = "-proportional" if self.proportional else ""
        return f"{dataset}-small-{self.passes / 1e6:g}M{series}"

    def pretraining(
        self, row: Row, dataset: str, data: Sequence[str], further: Sequence[str]
    ) -> list[str]:
        size = [
            *(f"data={dataset}", *data, f"crops.num_crops={row.num_crops}"),
            *("++backbone.kwargs.width=16", "method_kwargs.proj_hidden_dim=512"),
            *("knn_eval.enabled=false", "++limit_val_batches=0"),
        ]
        if row.config not in _WITHOUT_OUTPUT_DIM:
            size.append("method_kwargs.proj_output_dim=128")
        each, images, batch = _work(row.config, (*size, *further))
        passes = float(self.passes)
        if self.proportional:
            yardstick = ROWS[YARDSTICK_ROW]
            own = (
                f"data={dataset}",
                *yardstick.overrides,
                f"crops.num_crops={yardstick.num_crops}",
            )
            passes *= each * row.epochs / (_work(yardstick.config, own)[0] * yardstick.epochs)
        batches = max(1, round(passes / (each * batch)))
        epochs = math.ceil(batches / (images // batch))
        return [*size, f"max_epochs={epochs}", f"++limit_train_batches={round(batches / epochs)}"]

    def judging(self, overrides: Sequence[str]) -> list[str]:
        """All test images, and 1,000 for AutoAttack or many crops; heads have cheaper recipes.

        Many crops are attacked at 8/255 only, and 64 images are probed for alarms, because 32 crops
        cost as much as 32 images.
        A standard head is fitted to convergence. A robust head takes two epochs of Adam at 1e-3
        with batches of 128, because each of its epochs costs as much as 270,000 crop passes.
        """
        robust = "linear=robust" in overrides
        short = ("head.lr=1e-3", "head.epochs=2", "head.batch_size=128", "head.min_updates=0")
        head = short if robust else ("head.optimizer=lbfgs",)
        dear = {"autoattack=true", "protocol=crops"}.intersection(overrides)
        few = ("max_images=1000",) if dear else ()
        crops = "protocol=crops" in overrides
        cheap = ("epsilons=[8/255]", "alarm_images=64") if crops else ()
        return [*overrides, *head, *few, *cheap]


_WITHOUT_OUTPUT_DIM = ("supervised_freeadv",)
"""Methods whose projector may end in the classes."""


def scale_of(name: str, passes: int | None, proportional: bool) -> Full:
    """The scale of a name.

    Raises:
        UserError: there is no such scale, or it has no budget to choose.
    """
    choice("--scale", name, SCALES)
    if name != "small" and (passes is not None or proportional):
        raise UserError(f"--passes and --proportional belong to --scale small; got {name}.")
    return SCALES[name](PASSES if passes is None else passes, proportional)


SCALES: dict[str, Callable[[int, bool], Full]] = {
    "full": lambda passes, proportional: FULL,
    "tiny": lambda passes, proportional: Tiny(),
    "small": Small,
}


def tiny_crops(num_crops: int) -> int:
    """The number of crops at the scale ``tiny``: a quarter, but at least two if there are two."""
    return num_crops if num_crops <= 2 else max(2, num_crops // 4)


def tiny_epochs(epochs: int) -> int:
    """The number of epochs at the scale ``tiny``.

    Rows with two crops train for hundreds of epochs, so theirs are divided by more. Rows that train
    longer than others in the paper still do.
    """
    return max(1, round(epochs / 50 if epochs >= _MANY_EPOCHS else epochs / 5))


def _tiny_crops_of(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key}={int(value) // 8}" if key == "num_crops" else override


@cache
def _work(config: str, overrides: tuple[str, ...]) -> tuple[float, int, int]:
    """Crop passes of an image in an epoch, number of train images, and batch size of a run."""
    from solo_adv.cost.work import passes_of_batch, train_images  # noqa: PLC0415  imports torch

    cfg = checked(composed(config, overrides))
    return passes_of_batch(cfg), train_images(cfg), int(cfg.optimizer.batch_size)


def checked(cfg: DictConfig) -> DictConfig:
    """A composed pretraining config with the method's defaults and its preset, checked.

    Raises:
        UserError: a setting does not exist or is out of range.
    """
    from solo_adv.host.settings import CHECKS  # noqa: PLC0415  imports torch

    return CHECKS[cfg.method].add_and_assert_specific_cfg(cfg)
