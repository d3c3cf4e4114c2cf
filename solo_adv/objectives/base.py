"""What the training step asks of an objective."""

from typing import ClassVar, Protocol

from torch import Tensor


class Loss(Protocol):
    """A named tuple of scalars: ``total``, to be minimised, and the terms worth logging."""

    @property
    def total(self) -> Tensor: ...

    def _asdict(self) -> dict[str, Tensor]: ...


class Objective(Protocol):
    """A frozen dataclass whose fields are its settings, called on the embeddings of a batch."""

    name: ClassVar[str]
    """Short name for logs: ``train_<name>_loss``."""
    output_dim: ClassVar[int]
    """Default dimension D of the embeddings."""
    needs_labels: ClassVar[bool]
    """Whether it learns from labels."""

    @property
    def min_views(self) -> int:
        """Crops of an image that it needs at least."""
        ...

    @property
    def on_logits(self) -> bool:
        """Whether ``z`` are to be class logits (V, B, K) instead of unit embeddings."""
        ...

    def __call__(self, z: Tensor, targets: Tensor) -> Loss:
        """Loss of unit embeddings (V, B, D) of images with labels (B,), -1 where unlabelled."""
        ...
