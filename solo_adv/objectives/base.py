"""The interface of objectives, and the data that the training step passes to them."""

from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor


class Update(NamedTuple):
    """The data of one update, or of one step of an attack, that an objective sees.

    It has V views of B images. Under ``adversary.views=twins`` the clean crops come first, then
    their attacked copies; under ``second`` the clean view comes first.
    """

    z: Tensor
    """The projector's embeddings (V, B, D) of the views, of which the attacked ones are perturbed.
    If the objective uses no projector, they are the backbone's features."""
    attacked: Tensor
    """Which views are attacked: bool (V,)."""
    labels: Tensor
    """Labels of the images (B,), -1 where an image has none."""
    teacher: Tensor | None = None
    """The teacher's outputs (V, B, D') on the clean crop of each view, without gradient; None
    without a teacher."""
    progress: float = 0.0
    """How much of the run is done, from 0 to 1. Under torch.compile it is a scalar tensor, so an
    objective may compute with it but not branch on it."""
    num_clean: int | None = None
    """How many of the views are clean. With None they are counted in ``attacked``."""
    center: Tensor | None = None
    """What an objective subtracts from features (D',) before it compares them with the teacher's;
    None subtracts nothing."""
    plain: Tensor | None = None
    """Embeddings (B, D) of the images without augmentation, if the objective wants them. An attack
    has none."""

    @property
    def clean(self) -> Tensor:
        """Embeddings of the clean views (V', B, D), which come before the attacked ones."""
        return self.z[: self._first_attacked]

    @property
    def perturbed(self) -> Tensor:
        """Embeddings of the attacked views (V - V', B, D)."""
        return self.z[self._first_attacked :]

    @property
    def _first_attacked(self) -> int:
        # Counting in the mask would wait for a GPU if the mask lies on one.
        return int((~self.attacked).sum()) if self.num_clean is None else self.num_clean


class Loss(Protocol):
    """A named tuple of scalars: ``total``, which is minimised, and further terms to log."""

    @property
    def total(self) -> Tensor: ...

    def _asdict(self) -> dict[str, Tensor]: ...


class Objective:
    """The base class of objectives. Each is a frozen dataclass whose fields are its settings."""

    name: ClassVar[str]
    """Short name; the loss is logged as ``train_<name>_loss``."""
    output_dim: ClassVar[int] = 128
    """Default dimension D of the projector's embeddings."""
    needs_labels: ClassVar[bool] = False
    """Whether it learns from labels."""
    needs_teacher: ClassVar[bool] = False
    """Whether it uses a teacher's outputs."""
    needs_twins: ClassVar[bool] = False
    """Whether it compares each crop's clean and attacked copy, as ``adversary.views=twins`` makes
    them."""
    needs_clusters: ClassVar[bool] = False
    """Whether ``Update.labels`` must be clusters of a teacher's features, as ``teacher.clusters``
    makes them, instead of the data set's labels."""
    projector: ClassVar[bool] = True
    """Whether it sees the projector's unit embeddings. If false, it sees the backbone's features
    as they are, and the method has no projector."""

    @property
    def min_views(self) -> int:
        """The smallest number of views of an image that it accepts."""
        return 1

    @property
    def wants_plain(self) -> bool:
        """Whether it sees the images without augmentation, too (``Update.plain``)."""
        return False

    @property
    def on_logits(self) -> bool:
        """Whether ``z`` are class logits (V, B, K) instead of unit embeddings."""
        return False

    def __call__(self, update: Update) -> Loss:
        """The loss that the weights minimise."""
        raise NotImplementedError

    def crafting(self, update: Update) -> Tensor:
        """The scalar loss that an attack ascends: the total, unless a subclass changes it.

        Free training does not call this, because it reuses the gradient of the update itself.
        """
        return self(update).total
