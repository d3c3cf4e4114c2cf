"""The settings of a robust evaluation, checked where they enter."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from solo_adv.adversaries import AUTO, NORMS, Ball
from solo_adv.evaluation.aggregation import AUGMENTATIONS, SPACES
from solo_adv.evaluation.attacks.crafting import Crafting
from solo_adv.evaluation.heads.finetune import FinetuneRecipe
from solo_adv.evaluation.heads.linear import HeadRecipe
from solo_adv.support.checks import choice, flag, known_keys, number, whole
from solo_adv.support.errors import UserError

PROTOCOLS = ("central", "crops")
HEADS = ("standard", "robust")
FEATURES = ("auto", "hidden", "backbone")
_USUAL: Any = AUTO
FINETUNINGS = ("none", "adversarial")


@dataclass(frozen=True, kw_only=True)
class RobustSettings:
    """How to judge an encoder. The defaults are the paper's, or its code's where it is silent.

    Epsilons and step sizes are lengths in the ``norm``, as numbers or text (``"8/255"``), or
    ``"auto"``, the usual ones.

    Raises:
        UserError: a setting is unknown or out of range.
    """

    protocol: str = "central"
    """What represents an image: ``central``, the whole of it, or ``crops``, the mean over crops."""
    num_crops: int = 16
    """Under ``protocol=crops``, as the next two: how many."""
    crop_augmentation: str = "full"
    """``full``, as in pretraining (the reference), or ``geometric``: crop, resize and flip only."""
    space: str = "crop"
    """What is attacked: each ``crop`` (the reference), or the ``image`` that they are cut from."""
    linear: str = "standard"
    """Training of the head: ``standard``, or ``robust`` (r-LE)."""
    features: str = "hidden"
    """``hidden`` (of the projector, as the reference), ``backbone``, or ``auto``, which the
    command line replaces by the first of these that the encoder has."""
    finetune: str = "none"
    """``adversarial``: encoder and head are then trained together on attacked images (AFF)."""
    finetune_recipe: FinetuneRecipe = field(default_factory=FinetuneRecipe)
    norm: str = "linf"
    """Of every attack: ``linf`` or ``l2``."""
    epsilons: tuple[float, ...] = _USUAL
    """In ``linf`` 4, 8 and 16/255."""
    steps: int = 20
    step_size: float = _USUAL
    restarts: int = 1
    random_start: bool = False
    autoattack: bool = False
    """Attack with AutoAttack ``standard`` as well, at every epsilon."""
    alarm_images: int = 256
    """Test images on which the evaluation itself is probed; 0 for none."""
    max_images: int | None = None
    """Judge this many test images, drawn by the seed; None: all."""
    batch_size: int = 512
    """Images, or crops under ``protocol=crops``, in a forward pass."""
    head: HeadRecipe = field(default_factory=HeadRecipe)
    train_epsilon: float = _USUAL
    """Of the attack that robust heads and fine-tuning train on, as the next two."""
    train_steps: int = 5
    train_step_size: float = _USUAL
    precision: str = "32-true"
    """Of the passes of PGD and of training heads on it: ``32-true``, or ``bf16-mixed``, which makes
    the attack weaker, if anything. Verdicts, AutoAttack and what is learnt: always in float32."""
    compile: bool = False
    """Whether the attacks' passes go through ``torch.compile``."""
    knn_k: int = 20
    knn_temperature: float = 0.07
    seed: int = 5

    def __post_init__(self) -> None:
        choice("protocol", self.protocol, PROTOCOLS)
        choice("linear", self.linear, HEADS)
        choice("features", self.features, FEATURES)
        choice("space", self.space, SPACES)
        choice("crop_augmentation", self.crop_augmentation, AUGMENTATIONS)
        choice("finetune", self.finetune, FINETUNINGS)
        choice("norm", self.norm, NORMS)
        norm = NORMS[self.norm]
        object.__setattr__(self, "epsilons", _epsilons(norm, self.epsilons))
        for name in ("step_size", "train_epsilon", "train_step_size"):
            object.__setattr__(self, name, norm.length(name, getattr(self, name)))
        for name in ("steps", "restarts", "batch_size", "train_steps", "knn_k", "num_crops"):
            whole(name, getattr(self, name), 1)
        whole("alarm_images", self.alarm_images, 0)
        if self.max_images is not None:
            whole("max_images", self.max_images, 1)
        flag("random_start", self.random_start)
        flag("autoattack", self.autoattack)
        number("knn_temperature", self.knn_temperature, above_zero=True)
        whole("seed", self.seed, 0)
        _ = self.crafting  # checks its settings
        if not isinstance(self.head, HeadRecipe):
            raise UserError(
                f"head must be a group of settings such as lr and epochs; got {self.head}."
            )
        if not isinstance(self.finetune_recipe, FinetuneRecipe):
            raise UserError(
                "finetune_recipe must be a group of settings such as lr and epochs; got "
                f"{self.finetune_recipe}."
            )
        if not norm.by_pixel and self.protocol == "crops" and self.space == "crop":
            raise UserError(
                f"norm={self.norm} bounds the change of a whole image, and space=crop attacks each "
                "of its crops: use space=image."
            )
        if self.finetune == "adversarial" and self.protocol == "crops":
            raise UserError(
                "finetune=adversarial trains on whole images: use protocol=central with it."
            )

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "RobustSettings":
        """From a configuration group; what it leaves out is the default."""
        known_keys("the evaluation", mapping, cls)
        given = dict(mapping)
        if isinstance(given.get("head"), Mapping):
            given["head"] = HeadRecipe.from_config(given["head"])
        if isinstance(given.get("finetune_recipe"), Mapping):
            given["finetune_recipe"] = FinetuneRecipe.from_config(given["finetune_recipe"])
        return cls(**given)

    def to_config(self) -> dict[str, Any]:
        """Plain values, as :meth:`from_config` takes them."""
        return {**asdict(self), "epsilons": list(self.epsilons)}

    def decisive(self, *, head_given: bool = False) -> dict[str, Any]:
        """The settings that the figures depend on, as far as they are not the norm's defaults.

        It leaves out what changes speed and memory only, and what the other settings make
        meaningless, such as ``num_crops`` under ``protocol=central``.

        Args:
            head_given: whether a head is given, so that none is trained.
        """
        crops, tuned = self.protocol == "crops", self.finetune != "none"
        attacked_training = (self.linear == "robust" or tuned) and not head_given
        # Random numbers are drawn for a batch, and AutoAttack's steps depend on the whole of it.
        by_batch = self.restarts > 1 or self.random_start or self.autoattack
        matters = {
            **dict.fromkeys(("num_crops", "crop_augmentation", "space"), crops),
            **dict.fromkeys(("train_epsilon", "train_steps", "train_step_size"), attacked_training),
            "finetune_recipe": tuned,
            "head": not head_given,
            "batch_size": by_batch,
            "compile": False,
        }
        default = {**RobustSettings(norm=self.norm).to_config(), "norm": RobustSettings().norm}
        return {
            name: value
            for name, value in self.to_config().items()
            if matters.get(name, True) and value != default[name]
        }

    @property
    def crafting(self) -> Crafting:
        """How the attacks' passes are computed."""
        return Crafting(precision=self.precision, compile=self.compile)

    @property
    def shown(self) -> Ball:
        """Of the balls that are attacked in, the one nearest the usual: for probes and examples."""
        usual = Ball(self.norm, AUTO).epsilon
        return Ball(self.norm, min(self.epsilons, key=lambda epsilon: abs(epsilon - usual)))

    @property
    def images_per_batch(self) -> int:
        """How many images make ``batch_size`` forward passes."""
        return max(1, self.batch_size // (self.num_crops if self.protocol == "crops" else 1))


def _epsilons(norm: type[Ball], given: Any) -> tuple[float, ...]:
    if given == AUTO:
        given = norm.usual["epsilons"]
    if isinstance(given, str) or not isinstance(given, Sequence):
        given = [given]
    epsilons = sorted({norm.length("epsilons", epsilon) for epsilon in given})
    if not epsilons or epsilons[0] == 0:
        raise UserError(
            "epsilons must be one or more lengths above 0, such as "
            f"[{', '.join(map(str, norm.usual['epsilons']))}]; accuracy at 0 is always measured. "
            f"Got {list(given)}."
        )
    return tuple(epsilons)
