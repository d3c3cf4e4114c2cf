"""The settings of a robust evaluation, and their checks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from solo_adv.adversaries import AUTO, NORMS, Ball
from solo_adv.evaluation.aggregation import AUGMENTATIONS, SPACES
from solo_adv.evaluation.attacks.crafting import Crafting
from solo_adv.evaluation.attacks.losses import CHOICES
from solo_adv.evaluation.corruptions.severities import GENERATED
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
    """How to judge an encoder.

    The defaults are the paper's or, where it prints none, those of its code. Epsilons and step
    sizes are lengths in the ``norm``: numbers, text such as ``"8/255"``, or ``"auto"`` for the
    usual ones.

    Raises:
        UserError: a setting is unknown or out of range.
    """

    protocol: str = "central"
    """What represents an image: with ``central`` the whole image, with ``crops`` the mean over its
    crops."""
    num_crops: int = 16
    """How many crops represent an image under ``protocol=crops``."""
    crop_augmentation: str = "full"
    """How crops are drawn under ``protocol=crops``: ``full`` draws them as pretraining did (so does
    the reference code), ``geometric`` only crops, resizes and flips."""
    space: str = "crop"
    """What is attacked under ``protocol=crops``: each ``crop`` (as in the reference code), or the
    ``image`` from which the crops are cut."""
    linear: str = "standard"
    """How the head is trained: ``standard``, or ``robust`` (r-LE), on attacked images."""
    features: str = "hidden"
    """``hidden`` (the projector's, as in the reference code), ``backbone``, or ``auto``, which the
    command line replaces by the first of these that the encoder has."""
    finetune: str = "none"
    """With ``adversarial``, encoder and head are trained together on attacked images (AFF)."""
    finetune_recipe: FinetuneRecipe = field(default_factory=FinetuneRecipe)
    """How encoder and head are trained under ``finetune=adversarial``."""
    norm: str = "linf"
    """The norm of every attack: ``linf`` or ``l2``."""
    epsilons: tuple[float, ...] = _USUAL
    """The radii at which the classifier is attacked. The usual ones in ``linf`` are 4/255, 8/255
    and 16/255."""
    other_norms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Further norms in which the classifier is attacked, and the radii in each (``"auto"`` for the
    usual ones, None for none). Steps have the usual length of their norm."""
    steps: int = 20
    """Number of PGD's steps."""
    step_size: float = _USUAL
    """Length of each step."""
    restarts: int = 1
    """How often PGD attacks an image. The worst case counts."""
    attack_loss: str = "cross_entropy"
    """What PGD ascends: ``cross_entropy``, ``margin`` (between the largest other logit and the true
    one), or ``both``, in the worst case."""
    random_start: bool = False
    """Whether PGD's first run starts at random instead of at zero. Later runs always do."""
    autoattack: bool = False
    """Whether to attack with AutoAttack ``standard`` as well, at every epsilon."""
    corruptions: str | None = None
    """Corrupted images to judge as well: ``generated`` from the test images, or a folder with
    CIFAR-10-C, CIFAR-100-C or ImageNet-C; None judges none."""
    frost_pictures: str | None = None
    """A folder with the published pictures of frost, for ``corruptions=generated``; None takes
    those of the package ``imagecorruptions``, if it is installed."""
    alarm_images: int = 256
    """How many test images the probes of the evaluation itself use; 0 switches the probes off."""
    max_images: int | None = None
    """How many test images to judge, drawn by the seed; None judges all."""
    batch_size: int = 512
    """Number of images, or of crops under ``protocol=crops``, in a forward pass."""
    head: HeadRecipe = field(default_factory=HeadRecipe)
    """How the head is trained."""
    train_epsilon: float = _USUAL
    """Radius of the attack on which robust heads and fine-tuning train."""
    train_steps: int = 5
    """Number of steps of that attack."""
    train_step_size: float = _USUAL
    """Length of each step of that attack."""
    train_random_start: bool = False
    """Whether that attack starts at random instead of at zero. Those of TRADES and AutoLoRa always
    do."""
    precision: str = "32-true"
    """Precision of the passes that look for a perturbation, in PGD and in the training of robust
    heads: ``32-true``, or ``bf16-mixed``, which can only make the attack weaker. Verdicts,
    AutoAttack and the updates of heads are always computed in float32."""
    compile: bool = False
    """Whether ``torch.compile`` compiles the attacks' passes."""
    fold: bool = True
    """Whether batch norms are folded into convolutions in the attacks' passes, which changes these
    by rounding only."""
    knn_k: int = 20
    """Number of neighbours that vote in kNN."""
    knn_temperature: float = 0.07
    """Temperature of the weights of kNN's votes."""
    seed: int = 5
    """Seed of everything that the evaluation draws at random."""

    def __post_init__(self) -> None:
        choice("protocol", self.protocol, PROTOCOLS)
        choice("linear", self.linear, HEADS)
        choice("features", self.features, FEATURES)
        choice("space", self.space, SPACES)
        choice("crop_augmentation", self.crop_augmentation, AUGMENTATIONS)
        choice("finetune", self.finetune, FINETUNINGS)
        choice("norm", self.norm, NORMS)
        choice("attack_loss", self.attack_loss, CHOICES)
        norm = NORMS[self.norm]
        object.__setattr__(self, "epsilons", _epsilons("epsilons", norm, self.epsilons))
        object.__setattr__(self, "other_norms", _other_norms(self.norm, self.other_norms))
        for name in ("step_size", "train_epsilon", "train_step_size"):
            object.__setattr__(self, name, norm.length(name, getattr(self, name)))
        for name in ("steps", "restarts", "batch_size", "train_steps", "knn_k", "num_crops"):
            whole(name, getattr(self, name), 1)
        whole("alarm_images", self.alarm_images, 0)
        if self.max_images is not None:
            whole("max_images", self.max_images, 1)
        flag("random_start", self.random_start)
        flag("train_random_start", self.train_random_start)
        flag("autoattack", self.autoattack)
        for name in ("corruptions", "frost_pictures"):
            _path(name, getattr(self, name))
        number("knn_temperature", self.knn_temperature, above_zero=True)
        whole("seed", self.seed, 0)
        _ = self.crafting  # making it checks its settings
        if not isinstance(self.head, HeadRecipe):
            raise UserError(
                f"head must be a group of settings such as lr and epochs; got {self.head}."
            )
        if not isinstance(self.finetune_recipe, FinetuneRecipe):
            raise UserError(
                "finetune_recipe must be a group of settings such as lr and epochs; got "
                f"{self.finetune_recipe}."
            )
        if self.linear == "robust" and self.head.optimizer == "lbfgs":
            raise UserError(
                "linear=robust trains on images that are attacked anew for every update, and "
                "head.optimizer=lbfgs on fixed features: use head.optimizer=sgd or adam."
            )
        for name in (self.norm, *self.other_norms):
            if not NORMS[name].by_pixel and self.protocol == "crops" and self.space == "crop":
                raise UserError(
                    f"The norm {name} bounds the change of a whole image, and space=crop attacks "
                    "each of its crops: use space=image."
                )
        if self.finetune == "adversarial" and self.protocol == "crops":
            raise UserError(
                "finetune=adversarial trains on whole images: use protocol=central with it."
            )

    @classmethod
    def from_config(cls, mapping: Mapping[str, Any]) -> "RobustSettings":
        """Read the settings from a configuration group. Settings that it lacks keep their default.

        Raises:
            UserError: a key or a value is not accepted.
        """
        known_keys("the evaluation", mapping, cls)
        given = dict(mapping)
        if isinstance(given.get("head"), Mapping):
            given["head"] = HeadRecipe.from_config(given["head"])
        if isinstance(given.get("finetune_recipe"), Mapping):
            given["finetune_recipe"] = FinetuneRecipe.from_config(given["finetune_recipe"])
        return cls(**given)

    def to_config(self) -> dict[str, Any]:
        """The settings as plain values that :meth:`from_config` accepts."""
        plain = {**asdict(self), "epsilons": list(self.epsilons)}
        plain["other_norms"] = {norm: list(radii) for norm, radii in self.other_norms.items()}
        for recipe in ("head", "finetune_recipe"):
            plain[recipe]["milestones"] = list(plain[recipe]["milestones"])
        return plain

    def decisive(self, *, head_given: bool = False) -> dict[str, Any]:
        """The settings that the figures depend on and that differ from the norm's defaults.

        Settings are left out that change only speed and memory, and settings that others make
        meaningless, such as ``num_crops`` under ``protocol=central``.

        Args:
            head_given: whether a head is given, so that none is trained.
        """
        crops, tuned = self.protocol == "crops", self.finetune != "none"
        attacked_head = self.linear == "robust" or self.head.automatic_lr
        attacked_training = (attacked_head or tuned) and not head_given
        # Random numbers are drawn for a whole batch, and AutoAttack's steps depend on all images of
        # a batch.
        by_batch = self.restarts > 1 or self.random_start or self.autoattack
        matters = {
            **dict.fromkeys(("num_crops", "crop_augmentation", "space"), crops),
            **dict.fromkeys(
                ("train_epsilon", "train_steps", "train_step_size", "train_random_start"),
                attacked_training,
            ),
            "finetune_recipe": tuned,
            "head": not head_given,
            "batch_size": by_batch,
            "frost_pictures": self.corruptions == GENERATED,
            **dict.fromkeys(("compile", "fold"), False),
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
        return Crafting(precision=self.precision, compile=self.compile, fold=self.fold)

    @property
    def attacks(self) -> list[tuple[Ball, float]]:
        """The balls in which the classifier is attacked, each with the length of PGD's steps."""
        own = [(Ball(self.norm, epsilon), self.step_size) for epsilon in self.epsilons]
        others = [
            (Ball(norm, epsilon), NORMS[norm].length("step_size", AUTO))
            for norm, radii in self.other_norms.items()
            for epsilon in radii
        ]
        return own + others

    @property
    def shown(self) -> Ball:
        """The ball for probes and examples: in ``norm``, the radius nearest the usual one."""
        usual = Ball(self.norm, AUTO).epsilon
        return Ball(self.norm, min(self.epsilons, key=lambda epsilon: abs(epsilon - usual)))

    @property
    def images_per_batch(self) -> int:
        """How many images go into a forward pass of ``batch_size`` images or crops."""
        return max(1, self.batch_size // (self.num_crops if self.protocol == "crops" else 1))


def _path(name: str, given: Any) -> None:
    if given is not None and (not isinstance(given, str) or not given.strip()):
        also = f"{GENERATED} or " if name == "corruptions" else ""
        raise UserError(f"{name} must be {also}the path of a folder; got {given!r}.")


def _other_norms(norm: str, given: Any) -> dict[str, tuple[float, ...]]:
    if not isinstance(given, Mapping):
        raise UserError(
            f"other_norms gives each norm its radii, such as {{l2: [0.5]}}; got {given!r}."
        )
    for name in given:
        choice("other_norms", name, NORMS)
    given = {name: radii for name, radii in given.items() if radii is not None}
    if norm in given:
        raise UserError(
            f"other_norms has {norm}, which is the norm of the evaluation: give its radii as "
            "epsilons."
        )
    return {
        name: _epsilons(f"other_norms.{name}", NORMS[name], given[name])
        for name in NORMS
        if name in given
    }


def _epsilons(key: str, norm: type[Ball], given: Any) -> tuple[float, ...]:
    if given == AUTO:
        given = norm.usual["epsilons"]
    if isinstance(given, str) or not isinstance(given, Sequence):
        given = [given]
    epsilons = sorted({norm.length(key, epsilon) for epsilon in given})
    if not epsilons or epsilons[0] == 0:
        raise UserError(
            f"{key} must be one or more lengths above 0, such as "
            f"[{', '.join(map(str, norm.usual['epsilons']))}]; accuracy at 0 is always measured. "
            f"Got {list(given)}."
        )
    return tuple(epsilons)
