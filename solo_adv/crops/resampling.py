"""Crop, antialiased resize and flip of every crop at once, by linear maps of rows and columns.

Each pixel of a crop is a weighted sum of a few pixels of the image. `crop_and_resize_few` reads
only those few, which is faster on a CPU. `crop_and_resize` writes the weights into matrices, most
of whose entries are 0, and computes two batched matrix products, which is faster elsewhere.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


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

    The result is that of PIL's ``crop`` and ``resize``, without their rounding to 8 bits.

    Args:
        images: Float (B, 3, H, W).
        top: First row of each box, in pixels; float (V, B), on the images' device.
        left: First column; float (V, B).
        height: Number of rows; float (V, B).
        width: Number of columns; float (V, B).
        flip: Whether to flip left-right; bool (V, B).
        size: Side of the output in pixels.
        interpolation: ``bilinear`` or ``bicubic``.

    Returns:
        Crops (V*B, 3, size, size), view-major. Bicubic crops may leave the range of the images.
    """
    views, batch = top.shape
    source_height, source_width = images.shape[2:]

    # With image-major boxes one product cuts all views of an image, without copying it V times.
    def matrices(start: Tensor, length: Tensor, source: int, mirror: Tensor | None) -> Tensor:
        mirror = None if mirror is None else mirror.T.reshape(-1)
        line = _Line(start.T.reshape(-1), length.T.reshape(-1), size, interpolation, mirror)
        return line.weights(torch.arange(source, device=start.device))

    rows = matrices(top, height, source_height, None).view(batch, views * size, source_height)
    columns = matrices(left, width, source_width, flip)
    by_row = images.permute(0, 2, 1, 3).reshape(batch, source_height, 3 * source_width)
    crops = torch.bmm(rows, by_row).view(batch * views, size * 3, source_width)
    crops = torch.bmm(crops, columns.mT).view(batch, views, size, 3, size)
    return crops.permute(1, 0, 3, 2, 4).reshape(views * batch, 3, size, size)


def crop_and_resize_few(
    columns: Tensor,
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
    """Like `crop_and_resize`, for any crops, reading only the pixels that a crop needs.

    Args:
        columns: The images, column by column: float (B, W, 3, H), contiguous, on the CPU.
        images: Index of each crop's image; int64 (N,).
        top: First row of each box, in pixels; float (N,).
        left: First column; float (N,).
        height: Number of rows; float (N,).
        width: Number of columns; float (N,).
        flip: Whether to flip left-right; bool (N,).
        size: Side of the output in pixels.
        interpolation: ``bilinear`` or ``bicubic``.

    Returns:
        Crops (N, 3, size, size).
    """
    source_width, _, source_height = columns.shape[1:]
    count = len(images)
    crops = _weighted_sums(
        columns, _Line(left, width, size, interpolation, flip), source_width, images
    )
    rows = crops.view(count, size, 3, source_height).permute(0, 3, 2, 1).contiguous()
    crops = _weighted_sums(
        rows, _Line(top, height, size, interpolation), source_height, torch.arange(count)
    )
    return crops.view(count, size, 3, size).transpose(1, 2).contiguous()


def _weighted_sums(lines: Tensor, line: "_Line", source: int, which: Tensor) -> Tensor:
    """Resample line ``which[n]`` of the lines (M, source, ...) of pixels with weights n of `line`.

    Returns:
        The N resampled lines, (N * size, numbers in a pixel).
    """
    reached = line.reached()
    weights = line.weights(reached)
    # Pixels outside the line have weight 0, but their indices must be valid.
    places = reached.clamp_(0, source - 1).add_((which * source)[:, None, None])
    return embedding_bag(
        places.flatten(0, 1),
        lines.view(-1, lines.shape[2:].numel()),
        per_sample_weights=weights.flatten(0, 1),
        mode="sum",
    )


class _Line:
    """Weights that resample N intervals of a line of pixels to ``size`` pixels each.

    As in PIL, the kernel is widened when an interval shrinks, and where it extends beyond an end of
    the interval it is cut off and its weights are normalised again.

    Args:
        start, length: Start and length of the N intervals, in pixels; (N,).
        size: Number of pixels to resample each to.
        interpolation: ``bilinear`` or ``bicubic``.
        mirror: Which intervals are reversed; bool (N,).
    """

    def __init__(
        self,
        start: Tensor,
        length: Tensor,
        size: int,
        interpolation: str,
        mirror: Tensor | None = None,
    ) -> None:
        self.kernel = _KERNELS[interpolation]
        self.start, length = start[:, None, None], length[:, None, None]
        self.end = self.start + length
        step = length / size
        self.reach = step.clamp(min=1)
        place = torch.arange(0.5, size, device=start.device, dtype=start.dtype)
        if mirror is not None:
            place = torch.where(mirror[:, None], size - place, place)
        self.centre = self.start + place[..., None] * step

    def reached(self) -> Tensor:
        """Indices of the pixels from which each resampled one is made; int64 (N, size, K).

        K is the number that the longest interval needs; superfluous pixels get weight 0.
        """
        radius = self.reach * self.kernel.radius
        most = math.ceil(2 * radius.max().item())
        first = (self.centre - radius).add_(0.5).floor_().long()
        return first + torch.arange(most, device=first.device)

    def weights(self, pixels: Tensor) -> Tensor:
        """Weights (N, size, K) of the pixels (N, size, K) or (K,) in each resampled pixel."""
        place = pixels.to(self.start.dtype) + 0.5
        inside = (place > self.start) & (place < self.end)
        place = torch.where(inside, place / self.reach, torch.inf)
        weights = self.kernel.weight((place - self.centre / self.reach).abs_())
        return weights.div_(weights.sum(dim=-1, keepdim=True))


def _triangle(distance: Tensor) -> Tensor:
    return distance.neg_().add_(1).clamp_(min=0)


def _cubic(distance: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -0.5, as in PIL."""
    x = distance.clamp_(max=2)
    near = (1.5 * x - 2.5).mul_(x).mul_(x).add_(1)
    tail = (2.5 - 0.5 * x).mul_(x).sub_(4).mul_(x).add_(2)
    return tail.lerp(near, (x < 1).to(x.dtype))  # faster than torch.where on a CPU


class _Kernel(NamedTuple):
    weight: Callable[[Tensor], Tensor]
    radius: int


_KERNELS = {"bilinear": _Kernel(_triangle, 1), "bicubic": _Kernel(_cubic, 2)}
