"""What the training step asks of an objective, and what it shows to it."""

from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor


class Update(NamedTuple):
    """What an objective is shown of one update (or of one step of an attack).

    V views of B images. Under ``adversary.views=twins`` the clean crops come first, then their
    attacked copies; under ``second`` the clean view comes first.
    """

    z: Tensor
    """Embeddings (V, B, D) of the views, perturbed where attacked; of the projector, or the
    backbone's features if the objective wants no projector."""
    attacked: Tensor
    """Which views are attacked: bool (V,)."""
    labels: Tensor
    """Labels of the images (B,), -1 where an image has none."""
    teacher: Tensor | None = None
    """The teacher's outputs (V, B, D') on the clean crop of each view, without gradient; None
    without a teacher."""
    progress: float = 0.0
    """How much of the run is done, from 0 to 1. Under torch.compile a scalar tensor, so an
    objective may compute with it but not branch on it."""
    num_clean: int | None = None
    """How many of the views are clean; None to count them in ``attacked``."""

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
        # The number is known without a look at the mask, which may lie on a GPU.
        return int((~self.attacked).sum()) if self.num_clean is None else self.num_clean


class Loss(Protocol):
    """A named tuple of scalars: ``total``, to be minimised, and the terms worth logging."""

    @property
    def total(self) -> Tensor: ...

    def _asdict(self) -> dict[str, Tensor]: ...


class Objective:
    """The base of objectives: each is a frozen dataclass whose fields are its settings."""

    name: ClassVar[str]
    """Short name for logs: ``train_<name>_loss``."""
    output_dim: ClassVar[int] = 128
    """Default dimension D of the projector's embeddings."""
    needs_labels: ClassVar[bool] = False
    """Whether it learns from labels."""
    needs_teacher: ClassVar[bool] = False
    """Whether it compares with a teacher's outputs."""
    projector: ClassVar[bool] = True
    """Whether it is shown the projector's unit embeddings; False: the backbone's features as they
    are, and the method has no projector."""

    @property
    def min_views(self) -> int:
        """How many views of an image it needs at least."""
        return 1

    @property
    def on_logits(self) -> bool:
        """Whether ``z`` are class logits (V, B, K) instead of unit embeddings."""
        return False

    def __call__(self, update: Update) -> Loss:
        """What the weights minimise."""
        raise NotImplementedError

    def crafting(self, update: Update) -> Tensor:
        """The scalar that an attack ascends while it looks for a perturbation: the total loss.

        Free training does not ask for it, because it reuses the gradient of the update itself.
        """
        return self(update).total
