"""Crop, antialiased resize and flip of every crop at once, as two batched matrix products."""

from collections.abc import Callable

import torch
from torch import Tensor

# Further than any filter reaches, even after rescaling.
_OUT_OF_REACH = 4.0


def crop_and_resize(
    images: Tensor,
    *,
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
    flip: Tensor,
    size: int,
    interpolation: str,
) -> Tensor:
    """Cut boxes out of the images, resize them to a square and flip some of them.

    The result is that of PIL's ``crop`` and ``resize``, before rounding to 8 bits.

    Args:
        images: Float (B, 3, H, W).
        top, left, height, width: Boxes in pixels; float (V, B), on the images' device.
        flip: Whether to flip left-right; bool (V, B).
        size: Side of the output in pixels.
        interpolation: ``bilinear`` or ``bicubic``.

    Returns:
        Crops (V*B, 3, size, size), view-major. Bicubic crops may leave the range of the images.
    """
    views, batch = top.shape
    source_height, source_width = images.shape[2:]
    kernel = _KERNELS[interpolation]

    # Image-major boxes let one product serve all views of an image, without copying it V times.
    def matrices(start: Tensor, length: Tensor, source: int, mirror: Tensor | None) -> Tensor:
        mirror = None if mirror is None else mirror.T.reshape(-1)
        return _matrices(
            start.T.reshape(-1), length.T.reshape(-1), source, size, kernel, mirror=mirror
        )

    rows = matrices(top, height, source_height, None).view(batch, views * size, source_height)
    columns = matrices(left, width, source_width, flip)
    by_row = images.permute(0, 2, 1, 3).reshape(batch, source_height, 3 * source_width)
    crops = torch.bmm(rows, by_row).view(batch * views, size * 3, source_width)
    crops = torch.bmm(crops, columns.mT).view(batch, views, size, 3, size)
    return crops.permute(1, 0, 3, 2, 4).reshape(views * batch, 3, size, size)


def _matrices(
    start: Tensor,
    length: Tensor,
    source: int,
    size: int,
    kernel: Callable[[Tensor], Tensor],
    *,
    mirror: Tensor | None,
) -> Tensor:
    """The matrices (N, size, source) that resample intervals of a line to ``size`` pixels.

    As PIL does, the kernel widens when it shrinks, and where it hangs over an end of the interval
    it is cut off and rescaled.
    """
    start, length = start[:, None], length[:, None]
    step = length / size
    reach = step.clamp(min=1)
    place = torch.arange(size, device=start.device, dtype=torch.float32) + 0.5
    if mirror is not None:
        place = torch.where(mirror[:, None], size - place, place)
    centre = (start + place * step) / reach

    pixel = torch.arange(source, device=start.device, dtype=torch.float32) + 0.5
    inside = (pixel > start) & (pixel < start + length)
    far = (source + start + length) / reach + _OUT_OF_REACH
    pixel = torch.where(inside, pixel / reach, far)

    weights = kernel((pixel[:, None, :] - centre[:, :, None]).abs_())
    return weights.div_(weights.sum(dim=-1, keepdim=True))


def _triangle(distance: Tensor) -> Tensor:
    return distance.neg_().add_(1).clamp_(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -0.5, PIL's choice."""
    x = distance.clamp_(max=2)
    near = (1.5 * x - 2.5).mul_(x).mul_(x).add_(1)
    tail = (2.5 - 0.5 * x).mul_(x).sub_(4).mul_(x).add_(2)
    return tail.lerp(near, (x < 1).to(x.dtype))  # cheaper than torch.where on a CPU


_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {"bilinear": _triangle, "bicubic": _cubic}
