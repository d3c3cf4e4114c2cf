"""What the repositories of the field do that the weights of a checkpoint do not show.

A ResNet's weights show neither the padding of a 3x3 stem nor how images are normalised. Where a
repository is recognised by the names of its weights, what its code does is taken, and reported.

Source:
    The model files of the repositories: ACL, DynACL, AIR, RobustSSL (``models/resnet*.py``), AdvCL
    and A-InfoNCE (``models/resnet_cifar*.py``), DeACL (``solo/models/resnet_add_normalize.py``),
    solo-learn (``solo/methods/base.py``), lightly (``lightly/models/resnet.py``).
"""

from collections.abc import Sequence
from typing import NamedTuple

from solo_adv.encoders.specification import IDENTITY

Statistics = tuple[Sequence[float], Sequence[float]]

IMAGENET: Statistics = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_CIFAR10: Statistics = ([0.4914, 0.4822, 0.4465], [0.247, 0.243, 0.261])


class Family(NamedTuple):
    """Repositories whose checkpoints look the same."""

    name: str
    """Their names, for the user."""
    stem: str | None = None
    """The stem of their 3x3 first convolution. None: it must be named."""
    statistics: Statistics | None = None
    """By which images are normalised if the file does not say. None: it must be named."""
    large_images: int = 224
    """Side in pixels of the images that their 7x7 first convolution takes."""


ADVCL = Family("AdvCL or A-InfoNCE", "cifar", IDENTITY)
ACL = Family("ACL, DynACL, AIR or RobustSSL", "cifar", None, 96)  # 7x7 is for STL-10
DEACL = Family("DeACL", "cifar_padding2", _CIFAR10)
SOLO_LEARN = Family("solo-learn", "cifar_padding2")
LIGHTLY = Family("lightly", "cifar_linear", IMAGENET)
TORCHVISION = Family("torchvision or timm", None, IMAGENET)
SHORTCUT = Family("RoCL, lightly or another with 'shortcut'", "cifar")
UNKNOWN = Family("a ResNet with torchvision's names")


class Signs(NamedTuple):
    """What the names of the weights show."""

    network: str
    """What the names of the network's weights begin with."""
    batch_norms: int
    """Number of batch norms in each place; 0 if they are not in a list."""
    heads: frozenset[str]
    """First parts of the names of weights beside the network, and of its own heads."""
    statistics: Statistics | None
    """Mean and standard deviation that lie with the weights."""
    first_stage: int | None
    """Position of the first stage if the network is a list of layers (``Sequential``)."""
    shortcut: bool
    """Whether the layers beside a block are called ``shortcut`` and not ``downsample``."""
    classes: int | None
    """Number of classes of its own classifier ``fc``."""


_OF_ADVCL = frozenset({"head_proj", "head_pred", "head_ce", "fc_002"})
_OF_SOLO_LEARN = ("backbone", "encoder", "momentum_backbone", "momentum_encoder")
# lightly's own ResNet has no module for the ReLU of its stem, which a list of its layers therefore
# lacks. In torchvision's, ReLU and pooling come before the first stage.
_LISTS = {2: LIGHTLY, 4: Family("lightly or another list of layers", None, IMAGENET)}


def family_of(signs: Signs) -> Family:
    """The repositories that write such checkpoints."""
    rules: list[tuple[bool, Family]] = [
        (signs.batch_norms > 2 or bool(signs.heads & _OF_ADVCL), ADVCL),
        (signs.batch_norms > 0, ACL),
        (_close(signs.statistics, _CIFAR10), DEACL),
        (_close(signs.statistics, IMAGENET), ACL),
        (signs.first_stage is not None, _LISTS.get(signs.first_stage or 0, UNKNOWN)),
        (signs.shortcut, SHORTCUT),
        (signs.classes == 1000, TORCHVISION),
        (signs.network in _OF_SOLO_LEARN and "classifier" in signs.heads, SOLO_LEARN),
    ]
    return next((family for fits, family in rules if fits), UNKNOWN)


def _close(held: Statistics | None, known: Statistics) -> bool:
    if held is None:
        return False
    pairs = [pair for kinds in zip(held, known, strict=True) for pair in zip(*kinds, strict=True)]
    return all(abs(one - other) < 1e-3 for one, other in pairs)
