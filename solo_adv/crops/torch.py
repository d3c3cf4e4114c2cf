"""Crops of a whole batch at once, on the device that holds the images."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from solo_adv.crops.images import bordered, check_images
from solo_adv.crops.memory import empty_crops
from solo_adv.crops.operations import (
    by_column,
    cut,
    cut_few,
    put,
    recolor,
    rewrite_all,
    rewrite_chosen,
    rewrite_runs,
    send,
)
from solo_adv.crops.packing import NUM_ROWS, equal_work, jitter_order, pack
from solo_adv.crops.parameters import CropParameters, draw
from solo_adv.crops.spec import CropSpec
from solo_adv.crops.threads import computing_alone, run_all
from solo_adv.support.compiling import compiled_once
from solo_adv.support.errors import UserError

CPU_CHUNK_PIXELS = 2**19
"""Pixels that the CPU processes at a time if no chunk is set, so that they stay in its cache."""


class TorchCrops:
    """The batched crop backend.

    It computes what PIL computes, but without rounding to 8 bits after each operation. It never
    waits for the device, because everything that decides shapes and indices is drawn on the CPU.

    Args:
        spec: What to draw.
        seed: Seed of the random numbers.
        chunk: Number of crops processed at a time, which bounds the memory beside the result and
            does not change the crops. None: all on an accelerator; as many as stay in cache on the
            CPU.
        compiled: Whether the operations go through ``torch.compile``, with fixed shapes. The first
            batch then takes longer, for compiling.
        memory_format: Memory layout of the crops.
    """

    def __init__(
        self,
        spec: CropSpec,
        seed: int = 0,
        *,
        chunk: int | None = None,
        compiled: bool = False,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.spec = spec
        self.chunk = chunk
        self.compiled = compiled
        self.memory_format = memory_format
        self._generator = torch.Generator().manual_seed(seed)

    def respec(self, spec: CropSpec) -> None:
        """Draw from another spec from now on; the random numbers go on as they were.

        Raises:
            UserError: ``num_crops`` or ``size`` would change.
        """
        self.spec.check_same_shape(spec)
        self.spec = spec

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Draw V random crops of every image.

        Args:
            images: (B, 3, H, W) in uint8, or float with pixels in [0, 1]; on any device.

        Returns:
            Crops with pixels in [0, 1], view-major; float32 (V*B, 3, size, size), same device.

        Raises:
            UserError: The images have another shape, type or range.
        """
        check_images(images)
        images = bordered(images, self.spec.pad)
        batch, _, height, width = images.shape
        return self._crop(images, self.draw(batch, height, width))

    def draw(self, batch_size: int, height: int, width: int) -> CropParameters:
        """Draw the parameters for the next batch of images, (height, width) with their border."""
        with computing_alone():
            return draw(self.spec, batch_size, height, width, self._generator)

    def apply(self, images: Tensor, parameters: CropParameters) -> Tensor:
        """Crop with given parameters: the deterministic part of a call, differentiable in images.

        Args:
            images: As in a call.
            parameters: Parameters of N crops, view-major; N is a multiple of the number of images.
                Boxes are those of the images with their border.

        Returns:
            Crops as in a call, (N, 3, size, size).

        Raises:
            UserError: The images are not accepted, or N is not a multiple of their number.
        """
        check_images(images)
        if len(parameters) == 0 or len(parameters) % len(images):
            raise UserError(
                f"The parameters must be those of the same number of crops of each image; "
                f"got {len(parameters)} for {len(images)} images."
            )
        return self._crop(bordered(images, self.spec.pad), parameters)

    @torch.no_grad()
    def recolor(self, crops: Tensor, parameters: CropParameters) -> Tensor:
        """Apply the operations after crop, resize and flip to crops that were cut elsewhere.

        Args:
            crops: Crops with pixels in [0, 1]; float32 (N, 3, size, size), overwritten.
            parameters: Parameters of these N crops; their boxes and flips are not used.

        Returns:
            The finished crops, (N, 3, size, size).
        """
        with _without_autocast(crops.device):
            self._recolor(crops, pack(parameters))
        return crops.contiguous(memory_format=self.memory_format)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the random number generator, for a checkpoint."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue with the random numbers from a saved state."""
        self._generator.set_state(state["generator"].cpu())

    def _crop(self, images: Tensor, parameters: CropParameters) -> Tensor:
        with computing_alone():
            choices = pack(parameters)
        # Autocast would lose more precision than rounding the crops to 8 bits does.
        with _without_autocast(images.device):
            if torch.is_grad_enabled() and images.requires_grad:
                crops = self._differentiable(images, choices)
                return crops.contiguous(memory_format=self.memory_format)
            crops = empty_crops(
                len(parameters),
                self.spec.size,
                device=images.device,
                memory_format=self.memory_format,
            )
            if images.device.type == "cpu" and not self.compiled:
                self._crop_few(images, choices, crops)
            else:
                self._crop_grid(images, choices, crops)
        return crops

    def _differentiable(self, images: Tensor, choices: Tensor) -> Tensor:
        settings = send(choices.view(NUM_ROWS, -1, len(images)), images.device)
        crops = self._cut(images, settings)
        return recolor(crops, settings, choices, rewrite_chosen)

    def _crop_grid(self, images: Tensor, choices: Tensor, crops: Tensor) -> None:
        """Write the crops; one matrix product cuts all views of an image."""
        settings = send(choices.view(NUM_ROWS, -1, len(images)), images.device)
        views, batch = settings.shape[1:]
        grid = crops.unflatten(0, (views, batch))
        whole = compiled_once(fixed_shape_crops) if self.compiled else None
        for some_views, some_images in _chunks(views, batch, self._chunk_on(images, len(crops))):
            part = settings[:, some_views, some_images]
            target = grid[some_views, some_images]
            if whole is None:
                done = self._cut(images[some_images], part)
            else:
                done = whole(
                    images[some_images],
                    part,
                    size=self.spec.size,
                    interpolation=self.spec.interpolation,
                )
            target.copy_(done.view(target.shape))
        if whole is None:
            self._recolor(crops, choices)

    def _crop_few(self, images: Tensor, choices: Tensor, crops: Tensor) -> None:
        """Write the crops on the CPU, in an order in which crops with the same jitter adjoin."""
        with computing_alone():
            columns = by_column(images)
            parts = self._parts(images, choices)

        def work(some: Tensor) -> None:
            settings = choices.index_select(1, some)
            done = cut_few(
                columns,
                some % len(images),
                settings,
                size=self.spec.size,
                interpolation=self.spec.interpolation,
            )
            done = recolor(done, settings, settings, rewrite_chosen, rewrite_runs)
            put(done, crops, some)

        run_all(work, parts)

    def _recolor(self, crops: Tensor, choices: Tensor) -> None:
        """Apply the operations after the flip to the crops, in place."""
        if self.compiled:
            chunk = self._chunk_on(crops, len(crops))
            settings = send(choices, crops.device)
            for start in range(0, len(crops), chunk):
                some = crops[start : start + chunk]
                part = settings[:, start : start + chunk]
                some.copy_(compiled_once(_fixed_shape_recolor)(some, part))
            return

        def work(some: Tensor) -> None:
            mine = choices.index_select(1, some)
            where = send(some, crops.device)
            done = crops.index_select(0, where)
            done = recolor(done, send(mine, crops.device), mine, rewrite_chosen, rewrite_runs)
            put(done, crops, where)

        run_all(work, self._parts(crops, choices))

    def _cut(self, images: Tensor, settings: Tensor) -> Tensor:
        size, interpolation = self.spec.size, self.spec.interpolation
        return cut(images, settings, size=size, interpolation=interpolation)

    def _parts(self, images: Tensor, choices: Tensor) -> Sequence[Tensor]:
        """The indices of the crops in chunks; crops with the same jitter are adjacent."""
        order = jitter_order(choices)
        chunk = self._chunk_on(images, len(order))
        if self.chunk is not None or chunk >= len(order):
            return order.split(chunk)
        return equal_work(choices, order, math.ceil(len(order) / chunk))

    def _chunk_on(self, images: Tensor, count: int) -> int:
        if self.chunk is not None:
            return self.chunk
        if images.device.type == "cpu":
            side = max(self.spec.size, *images.shape[2:])
            chunks = math.ceil(count * self.spec.size * side / CPU_CHUNK_PIXELS)
            # An even number of equal chunks, so that two threads get the same work.
            return math.ceil(count / (chunks if chunks == 1 else chunks + chunks % 2))
        return sys.maxsize


def fixed_shape_crops(images: Tensor, settings: Tensor, *, size: int, interpolation: str) -> Tensor:
    """Apply all operations in one graph whose shapes do not depend on the random draws.

    Args:
        images: uint8, or float with pixels in [0, 1]; (B, 3, H, W).
        settings: Packed settings (NUM_ROWS, V, B), on the images' device.
        size: Side of the crops in pixels.
        interpolation: ``bilinear`` or ``bicubic``.

    Returns:
        Crops (V*B, 3, size, size), view-major.
    """
    crops = cut(images, settings, size=size, interpolation=interpolation)
    return _fixed_shape_recolor(crops, settings)


def _fixed_shape_recolor(crops: Tensor, settings: Tensor) -> Tensor:
    return recolor(crops, settings, settings, rewrite_all)


def _chunks(views: int, batch: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Split the (views, batch) crops into parts of at most ``most`` crops.

    If possible a part holds all views of some images, so that an image is converted once and one
    product cuts all its crops.
    """
    images = min(batch, max(1, most // views))
    rows = min(views, most)
    for image in range(0, batch, images):
        for view in range(0, views, rows):
            yield slice(view, view + rows), slice(image, image + images)


def _without_autocast(device: torch.device) -> AbstractContextManager[object]:
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
