"""The updates and crop passes of a run and, given a throughput, its time.

A crop pass is one crop forward and backward through the network; reports and progress bars count in
the same unit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from omegaconf import DictConfig

from solo_adv.cost.network import YARDSTICK, Network, pass_flops
from solo_adv.data import digits
from solo_adv.evaluation import RobustSettings
from solo_adv.host.settings import CHECKS
from solo_adv.methods.completion import build_adversary, build_objective, teacher_settings
from solo_adv.methods.run_length import batches_of_epoch, planned_batches, planned_updates
from solo_adv.methods.teacher import FORWARD
from solo_adv.support.settings import plain

IMAGES = {
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "stl10": (5_000, 8_000),
    "svhn": (73_257, 26_032),
    "imagenet100": (126_689, 5_000),
    "digits": (1_797 - digits.TEST_IMAGES, digits.TEST_IMAGES),
}
"""Train and test images. For ImageNet-100 they are those of its usual list of classes; the paper
does not say which classes it has."""

FURTHER_IMAGES = {"unlabelled": 100_000, "extra": 531_131}
"""Images of the further parts that ``data.train_split`` may name."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The work of a run; passes are crop passes."""

    batches: int
    batches_of_epoch: int
    updates: int
    """Optimizer steps."""
    pretraining: int
    per_image: int
    """Pretraining passes for each training image."""
    evaluation: int
    """Upper bound for heads and PGD, which skips images that are already misclassified.

    AutoAttack is not counted.
    """
    network: Network
    """The network that makes the passes."""

    @property
    def relative(self) -> float:
        """Arithmetic of one pass relative to that of the yardstick network."""
        return pass_flops(self.network) / pass_flops(YARDSTICK)

    def seconds(self, throughput: float) -> float:
        """Time at ``throughput`` passes a second of the yardstick network."""
        return (self.pretraining + self.evaluation) * self.relative / throughput


def cost(
    cfg: DictConfig, evaluations: Iterable[DictConfig] = (), images: int | None = None
) -> Cost:
    """Compute the work of a run from its configs; nothing is loaded or trained.

    Args:
        cfg: Complete config of the pretraining run.
        evaluations: Configs of its evaluations, with the keys of ``robust.yaml``.
        images: Number of train images; None: as many as the data set has (one of ``IMAGES``).
    """
    labelled, test = IMAGES.get(cfg.data.dataset, (0, 0))
    train = train_images(cfg, images)
    labelled = min(train, labelled or train)
    batch = cfg.optimizer.batch_size
    whole = train // batch
    batches = planned_batches(cfg, whole)
    per_batch, before = passes_of_batch(cfg), teacher_settings(cfg).bank_passes
    return Cost(
        batches=batches,
        batches_of_epoch=batches_of_epoch(cfg, whole),
        updates=planned_updates(cfg, whole) * cfg.adversary.get("replays", 1),
        pretraining=round(batches * batch * per_batch + train * before),
        per_image=round(per_batch * batches / max(1, whole) + before),
        evaluation=sum(evaluation_passes(labelled, test, judging) for judging in evaluations),
        network=Network.of(cfg),
    )


def train_images(cfg: DictConfig, images: int | None = None) -> int:
    """Number of images that a run trains on: ``data.fraction`` of ``images`` or of the data set."""
    count = images
    if count is None:
        parts = cfg.data.get("train_split", "train").split("+")
        count = sum(FURTHER_IMAGES.get(part, IMAGES[cfg.data.dataset][0]) for part in parts)
    return count if cfg.data.fraction == -1 else round(count * cfg.data.fraction)


def passes_of_batch(cfg: DictConfig) -> float:
    """Crop passes of a training step for each image of its batch, given a complete config.

    It is the mean over the run if the steps of the attack change during the run.
    """
    method = CHECKS[cfg.method]
    views, adversary = build_adversary(cfg, method.adversary_class)
    more = {
        "taught": teacher_settings(cfg).passes_crops,
        "momentum": cfg.averaging.views == "second",
        "plain": build_objective(cfg, method.objective_class).wants_plain,
    }
    passes = 0.0
    for share, begins in adversary.schedule.parts():
        adversary.progress = begins
        passes += share * views.passes(adversary, num_crops=cfg.crops.num_crops, **more)
    return passes


def evaluation_passes(train: int, test: int, cfg: DictConfig) -> int:
    """Upper bound for the crop passes of training a head and attacking with PGD."""
    known = {field.name for field in fields(RobustSettings)}
    held = {key: value for key, value in plain(cfg).items() if key in known}
    settings = RobustSettings.from_config(held)
    crops = settings.num_crops if settings.protocol == "crops" else 1
    judged = min(test, settings.max_images or test)
    seen = train * settings.head.epochs_for(train)
    head = seen * (settings.train_steps + FORWARD) if settings.linear == "robust" else 0
    features = (train + judged) * crops * FORWARD
    attacks = judged * crops * settings.steps * settings.restarts * len(settings.attacks)
    return round(head + features + attacks)
