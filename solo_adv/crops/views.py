"""Join a list of views, as loaders deliver them, into one view-major tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor


def join_views(views: Sequence[Tensor]) -> Tensor:
    """Join V views (B, ...) of one shape into one tensor (V*B, ...), view-major.

    Views that are adjacent in memory, such as those of ``crops.chunk(V)``, are joined without a
    copy.
    """
    first = views[0]
    adjoining = first.numel() > 0 and all(
        view.shape == first.shape
        and view.dtype == first.dtype
        and view.stride() == first.stride()
        and view.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and view.storage_offset() == first.storage_offset() + place * len(first) * first.stride(0)
        for place, view in enumerate(views)
    )
    if not adjoining or first.requires_grad:
        return torch.cat(list(views))
    return first.as_strided((len(views) * len(first), *first.shape[1:]), first.stride())
