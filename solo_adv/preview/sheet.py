"""Draws images and their crops as one picture."""

import io

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from solo_adv.adversaries import Ball

GAP = 2  # white pixels between crops
INCHES_PER_CROP = 0.95


def draw_sheet(
    images: Tensor, crops: Tensor, perturbed: Tensor | None, *, ball: Ball | None, title: str
) -> bytes:
    """Draw a PNG with lines for each image: its crops, the perturbed crops, and the perturbation.

    Args:
        images: B images, uint8 (B, 3, H, W).
        crops: Crops (V, B, 3, h, w) in [0, 1].
        perturbed: The same crops after the attack; None without an adversary.
        ball: What the attack may add; None without an adversary.
        title: Title above the picture.
    """
    views, batch = crops.shape[:2]
    lines = [("crops", crops)]
    if perturbed is not None and ball is not None:
        change = perturbed - crops
        magnification = ball.magnification(change)
        change = 0.5 + change * magnification
        lines += [("perturbed", perturbed), (f"change\nx {magnification:.3g}", change)]
    height = batch * len(lines)
    size = (INCHES_PER_CROP * (views + 2), INCHES_PER_CROP * height + 0.8)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=10)
    grid = figure.add_gridspec(height, 2, width_ratios=[1, views])
    for number in range(batch):
        top = number * len(lines)
        _show(figure.add_subplot(grid[top, 0]), images[number].float() / 255, f"image {number + 1}")
        for below, (name, pictures) in enumerate(lines):
            _show(figure.add_subplot(grid[top + below, 1]), _strip(pictures[:, number]), name)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _strip(pictures: Tensor) -> Tensor:
    """Join V pictures (V, 3, h, w) side by side."""
    padded = torch.nn.functional.pad(pictures, (0, GAP), value=1.0)
    return torch.cat(list(padded), dim=2)[..., :-GAP]


def _show(axes: Axes, picture: Tensor, label: str) -> None:
    pixels: np.ndarray = picture.clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylabel(label, fontsize=7)
    axes.spines[:].set_visible(False)
