"""Crops cut by NVIDIA DALI, on a GPU or on the CPU.

DALI decodes each image once, on the GPU if there is one, and cuts, resizes and flips its V crops.
The boxes and all other random numbers come from ``crops.parameters``, and the torch backend does
the colour operations after the flip, on the device where DALI leaves the crops. A seed therefore
gives the same crops as with ``TorchCrops``, up to rounding in the resize.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from solo_adv.crops.images import as_unit_float, bordered, check_images
from solo_adv.crops.parameters import CropParameters
from solo_adv.crops.spec import CropSpec
from solo_adv.crops.torch import TorchCrops
from solo_adv.support.errors import UserError

_EDGES = 4


def import_dali() -> ModuleType:
    """Import ``nvidia.dali`` with its ``fn``, ``types`` and ``Pipeline``.

    Raises:
        UserError: DALI is not installed; the message says how to install it.
    """
    try:
        from nvidia import dali  # noqa: PLC0415
        from nvidia.dali import fn, types  # noqa: F401, PLC0415
    except ImportError as error:
        raise UserError(
            f"NVIDIA DALI is needed for crops.backend=dali and data.format=dali ({error}). "
            "Install it with pip install 'solo-adv[dali]', or choose crops.backend=torch."
        ) from error
    return dali


class DaliCutter:
    """Cuts V crops out of every image of a batch, and can work several batches ahead.

    Batches come out in the order in which they were fed.

    Args:
        spec: Only its ``num_crops``, ``size`` and ``interpolation`` are used.
        max_batch_size: Largest number of images in a batch.
        device: Where the crops are made: a CUDA device or the CPU.
        encoded: Whether images are fed as encoded files (JPEG, PNG, ...) or as pixels.
        image_size: Side in pixels to which a decoded image is brought before it is cropped: its
            shorter side is resized to it, then the centre is cropped. None keeps the stored size.
        threads: Number of CPU threads; None: as many as torch uses.
        ahead: Number of batches that are fed before the crops of the first are fetched.

    Raises:
        UserError: DALI is not installed.
    """

    def __init__(
        self,
        spec: CropSpec,
        *,
        max_batch_size: int,
        device: torch.device,
        encoded: bool = False,
        image_size: int | None = None,
        threads: int | None = None,
        ahead: int = 0,
    ) -> None:
        dali = import_dali()
        self.spec = spec
        self.max_batch_size = max_batch_size
        self.device = device
        self._runs = ahead + 1
        # One entry for each run whose outputs have not been fetched: whether a caller wants them.
        self._expected: deque[bool] = deque()
        self._started = False
        on_gpu = device.type == "cuda"
        self._pipeline = dali.Pipeline(
            batch_size=max_batch_size,
            num_threads=threads or torch.get_num_threads(),
            device_id=(device.index or 0) if on_gpu else None,
            prefetch_queue_depth=self._runs,
            exec_dynamic=True,
        )
        with self._pipeline:
            boxes = dali.fn.external_source(name="boxes", ndim=2)
            if encoded:
                files = dali.fn.external_source(name="images", ndim=1)
                images = _decode(dali, files, image_size, on_gpu)
            else:
                images = dali.fn.external_source(name="images", layout="HWC")
                images = images.gpu() if on_gpu else images
            views = [_cut(dali, images, boxes[view], spec) for view in range(spec.num_crops)]
            self._pipeline.set_outputs(*views)
        self._pipeline.build()

    def feed(self, images: Sequence[np.ndarray] | np.ndarray, parameters: CropParameters) -> None:
        """Hand DALI a batch to work on.

        Args:
            images: B images in uint8: encoded files (bytes,) or pixels (H, W, 3).
            parameters: Parameters of the V*B crops, view-major; only boxes and flips are used.
        """
        boxes = torch.stack(
            [
                *(parameters.top, parameters.left, parameters.height, parameters.width),
                parameters.flip.long(),
            ],
            dim=1,
        )
        by_image = boxes.view(self.spec.num_crops, len(images), -1).transpose(0, 1)
        self._last = by_image.int().contiguous().numpy(), images
        self._feed_last(asked_for=True)
        if self._started:
            self._pipeline.schedule_run()

    def crops(self) -> Tensor:
        """Fetch the oldest batch that was fed: float32 (V*B, 3, size, size), view-major, in [0, 1].

        Raises:
            RuntimeError: DALI could not decode an image; the cutter cannot be used any more.
        """
        if not self._started:
            self._start()
        while not self._expected.popleft():
            self._outputs()
        views = self._outputs()
        # DALI reuses its memory, so the crops must be copied; cat copies and joins the views.
        crops = torch.cat([torch.from_dlpack(view.as_tensor()) for view in views])
        return crops.clamp_(0, 1)

    def drain(self) -> None:
        """Discard the batches that were fed and not fetched."""
        while any(self._expected):
            self.crops()

    def _start(self) -> None:
        # DALI starts with as many runs as its queue is long. If fewer batches were fed, the last
        # one is repeated; its extra outputs are discarded.
        while len(self._expected) < self._runs:
            self._feed_last(asked_for=False)
        self._pipeline.schedule_run()
        self._started = True

    def _feed_last(self, *, asked_for: bool) -> None:
        boxes, images = self._last
        self._pipeline.feed_input("boxes", boxes)
        self._pipeline.feed_input("images", images)
        self._expected.append(asked_for)

    def _outputs(self) -> Any:
        on_gpu = self.device.type == "cuda"
        stream = torch.cuda.current_stream(self.device) if on_gpu else None
        try:
            return self._pipeline.outputs(cuda_stream=stream)
        except Exception:
            self._expected.clear()  # DALI delivers nothing more after an error
            raise


class DaliCrops:
    """The DALI backend for images in memory.

    Args:
        rest: The torch backend, which draws the parameters and does the colour operations.

    Raises:
        UserError: DALI is not installed.
    """

    def __init__(self, rest: TorchCrops) -> None:
        import_dali()
        self.spec = rest.spec
        self._rest = rest
        self._cutter: DaliCutter | None = None

    def respec(self, spec: CropSpec) -> None:
        """Draw from another spec from now on; the random numbers go on as they were.

        Raises:
            UserError: ``num_crops`` or ``size`` would change.
        """
        self._rest.respec(spec)
        if spec.interpolation != self.spec.interpolation:  # which is built into the pipeline
            self._cutter = None
        self.spec = spec

    def __call__(self, images: Tensor) -> Tensor:
        """Draw V random crops of every image.

        Args:
            images: (B, 3, H, W) in uint8, or float with pixels in [0, 1], which are rounded to
                8 bits; on any device.

        Returns:
            Crops with pixels in [0, 1], view-major; float32 (V*B, 3, size, size), same device.

        Raises:
            UserError: The images have another shape, type or range.
        """
        check_images(images)
        images = bordered(images, self.spec.pad)
        batch, _, height, width = images.shape
        return self._cut(images, self._rest.draw(batch, height, width))

    def apply(self, images: Tensor, parameters: CropParameters) -> Tensor:
        """Crop the images with given parameters of V*B crops; otherwise as a call."""
        check_images(images)
        return self._cut(bordered(images, self.spec.pad), parameters)

    def _cut(self, images: Tensor, parameters: CropParameters) -> Tensor:
        cutter = self._cutter
        if cutter is None or cutter.max_batch_size < len(images) or cutter.device != images.device:
            cutter = DaliCutter(self.spec, max_batch_size=len(images), device=images.device)
            self._cutter = cutter
        cutter.feed(to_pixels(images), parameters)
        return self._rest.recolor(cutter.crops(), parameters)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of the random number generator, for a checkpoint."""
        return self._rest.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue with the random numbers from a saved state."""
        self._rest.load_state_dict(state)


def can_decode(file: np.ndarray, device: torch.device) -> bool:
    """Whether DALI can decode an image file, given as its bytes: uint8 (n,)."""
    dali = import_dali()
    on_gpu = device.type == "cuda"
    pipeline = dali.Pipeline(
        batch_size=1, num_threads=1, device_id=(device.index or 0) if on_gpu else None
    )
    with pipeline:
        files = dali.fn.external_source(lambda: [file], ndim=1, batch=True)
        pipeline.set_outputs(_decode(dali, files, None, on_gpu))
    try:
        pipeline.run()
    except RuntimeError:
        return False
    return True


def to_pixels(images: Tensor) -> np.ndarray:
    """Convert images (B, 3, H, W) to uint8 (B, H, W, 3) on the CPU, which DALI takes."""
    if images.dtype != torch.uint8:
        images = as_unit_float(images.detach()).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(images.cpu().permute(0, 2, 3, 1).numpy())


def _decode(dali: ModuleType, files: Any, image_size: int | None, on_gpu: bool) -> Any:
    images = dali.fn.decoders.image(
        files,
        device="mixed" if on_gpu else "cpu",
        output_type=dali.types.RGB,
        adjust_orientation=False,  # no reader of this package looks at the EXIF orientation
    )
    if image_size is None:
        return images
    images = dali.fn.resize(
        images,
        size=image_size,
        mode="not_smaller",
        interp_type=dali.types.INTERP_CUBIC,
        antialias=True,
    )
    return dali.fn.crop(images, crop=(image_size, image_size))


def _cut(dali: ModuleType, images: Any, box: Any, spec: CropSpec) -> Any:
    # Cut first, then resize: DALI's resize of a region would also read pixels outside the box,
    # which PIL does not.
    region = dali.fn.slice(images, start=box[:2], shape=box[2:_EDGES], axes=(0, 1))
    kinds = {"bilinear": dali.types.INTERP_LINEAR, "bicubic": dali.types.INTERP_CUBIC}
    resized = dali.fn.resize(
        region,
        size=(spec.size, spec.size),
        interp_type=kinds[spec.interpolation],
        antialias=True,
        dtype=dali.types.FLOAT,
    )
    return dali.fn.crop_mirror_normalize(
        resized, mirror=box[_EDGES], std=[255.0] * 3, output_layout="CHW", dtype=dali.types.FLOAT
    )
