"""Detects whether the embeddings have collapsed to a point or a line."""

import warnings

import torch
from torch import Tensor

from solo_adv.objectives import total_coding_rate

_IMAGES = 256  # enough to see a collapse, and cheap
COLLAPSED_BELOW = 2.0
"""Embeddings whose effective rank is below this all point in nearly the same direction."""
_READINGS = 2  # low ranks in a row before a warning, because a single one may be chance


def effective_rank(z: Tensor) -> Tensor:
    """Number of directions that the embeddings use, from 1 to min(B, D).

    The exponential of the entropy of the normalised singular values (not centred).

    Args:
        z: embeddings (B, D).

    Returns:
        A scalar in float64; NaN if an embedding is not finite.

    Source:
        Roy and Vetterli 2007; RankMe, Garrido et al. 2023, https://arxiv.org/abs/2210.02885
    """
    z = z.detach().double()
    gram = z @ z.mT if z.shape[0] <= z.shape[1] else z.mT @ z
    if not torch.isfinite(gram).all():
        return gram.new_full((), float("nan"))
    singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    share = singular / singular.sum().clamp(min=1e-300)
    return torch.special.entr(share).sum().exp()


class CollapseWatch:
    """Measures embeddings whenever it is called, and warns once if they have collapsed."""

    def __init__(self) -> None:
        self._low = 0
        self._warned = False

    def read(self, z: Tensor, *, beginning: bool) -> dict[str, Tensor]:
        """Measure one view's embeddings (B, D).

        Args:
            z: embeddings (B, D).
            beginning: whether the run is in its first epoch. Fresh networks give nearly equal
                embeddings, which then do not count as collapsed.

        Returns:
            ``effective_rank`` and ``coding_rate`` (in nats) of up to 256 embeddings.
        """
        z = z.detach()[:_IMAGES]
        rank = effective_rank(z)
        self._low = self._low + 1 if not beginning and rank < COLLAPSED_BELOW else 0
        if self._low >= _READINGS and not self._warned:
            self._warned = True
            warnings.warn(
                f"The representation has collapsed: the embeddings of {len(z)} images span "
                f"{float(rank):.2f} directions (effective rank). Try a lower optimizer.lr, a "
                "larger optimizer.batch_size, a smaller adversary.epsilon or "
                "method_kwargs.invariance_weight, or a longer scheduler.warmup_epochs.",
                stacklevel=2,
            )
        with torch.autocast(z.device.type, enabled=False):
            return {"effective_rank": rank, "coding_rate": total_coding_rate(z.float())}
