"""The distribution from which the random crops of an image are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Any

from solo_adv.support.checks import choice, is_number, known_keys, number, whole
from solo_adv.support.errors import UserError

INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True, kw_only=True)
class CropSpec:
    """The distribution of the crops; the defaults are the `multi_crop` preset.

    The operations are applied in the order of the fields: border, crop and resize, flip, colour
    jitter, grayscale, blur, solarise, as in EMP-SSL (https://arxiv.org/abs/2304.03977). Solarise
    inverts pixels at or above 128/255, as ``PIL.ImageOps.solarize`` does.

    Attributes:
        num_crops: Number of views V of every image.
        size: Side of the square output, in pixels.
        pad: Width of a black border around the image, as a share of its side, in [0, 1]. Boxes are
            drawn in the image with its border.
        scale: Range of the box's share of the image area, in (0, 1].
        ratio: Range of the box's width / height, drawn on a logarithmic scale.
        interpolation: ``bilinear`` or ``bicubic``, antialiased as PIL's resize.
        flip_prob: Probability of a left-right flip.
        jitter_prob: Probability of the colour jitter.
        brightness: The factor is uniform in ``max(0, 1 - brightness) .. 1 + brightness``.
        contrast: As brightness.
        saturation: As brightness.
        hue: The shift is uniform in ``-hue .. hue`` turns of the colour wheel, at most 0.5.
        grayscale_prob: Probability of dropping the colour.
        blur_prob: Probability of the Gaussian blur.
        blur_sigma: Range of its standard deviation, in output pixels.
        solarize_prob: Probability of solarising.

    Raises:
        UserError: A value is out of its range.
    """

    num_crops: int = 16
    size: int = 32
    pad: float = 0.0
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    flip_prob: float = 0.5
    jitter_prob: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.2
    grayscale_prob: float = 0.2
    blur_prob: float = 0.1
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_prob: float = 0.1

    def __post_init__(self) -> None:
        for name in ("num_crops", "size"):
            whole(f"crops.{name}", getattr(self, name), 1)
        self._normalise_number("pad", most=1.0)
        self._normalise_pair("scale", most=1.0)
        self._normalise_pair("ratio")
        self._normalise_pair("blur_sigma")
        for name in ("flip_prob", "jitter_prob", "grayscale_prob", "blur_prob", "solarize_prob"):
            self._normalise_number(name, most=1.0)
        for name in ("brightness", "contrast", "saturation"):
            self._normalise_number(name)
        self._normalise_number("hue", most=0.5)
        choice("crops.interpolation", self.interpolation, INTERPOLATIONS)

    def _normalise_number(self, name: str, most: float = inf) -> None:
        number(f"crops.{name}", getattr(self, name), most=most)
        object.__setattr__(self, name, float(getattr(self, name)))

    def _normalise_pair(self, name: str, most: float = inf) -> None:
        value = getattr(self, name)
        pair = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else ()
        ascending = len(pair) == 2 and all(map(is_number, pair)) and 0 < pair[0] <= pair[1] <= most
        if not ascending:
            bound = "" if most == inf else f" <= {most:g}"
            raise UserError(
                f"crops.{name} must be two numbers [min, max] with 0 < min <= max{bound}; "
                f"got {value!r}."
            )
        object.__setattr__(self, name, (float(pair[0]), float(pair[1])))

    @classmethod
    def preset(
        cls, name: str, *, num_crops: int | None = None, size: int | None = None, **overrides: Any
    ) -> CropSpec:
        """The spec of a preset, with some values changed.

        Args:
            name: ``multi_crop`` (EMP-SSL, CF-AMC-SSL), ``fixed_patch`` (the same with boxes of a
                quarter of the area and ratio 1), ``simclr`` (two crops, no blur, no solarise),
                ``weak`` (one crop: the image shifted by up to an eighth of its side, and flipped),
                or ``whole`` (one crop: the central square of the image).
            num_crops: Number of views, if not the preset's.
            size: Output side in pixels, if not the preset's.
            **overrides: Any other field.

        Raises:
            UserError: Unknown preset or field, or a value out of its range.
        """
        choice("crops preset", name, PRESETS)
        given = {"num_crops": num_crops, "size": size}
        changes = {key: value for key, value in given.items() if value is not None} | overrides
        return cls.from_config({**PRESETS[name], **changes})

    def check_same_shape(self, other: CropSpec) -> None:
        """Refuse a spec whose crops have another number or size than this one's.

        Raises:
            UserError: ``num_crops`` or ``size`` differs.
        """
        for name in ("num_crops", "size"):
            if getattr(self, name) != getattr(other, name):
                raise UserError(
                    f"crops.{name} cannot change during a run; it was {getattr(self, name)} and "
                    f"would become {getattr(other, name)}."
                )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> CropSpec:
        """Read a spec from a mapping; missing keys have their defaults.

        Raises:
            UserError: Unknown key, or a value out of its range.
        """
        known_keys("crops", config, cls)
        return cls(**config)


PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "multi_crop": {},
        "fixed_patch": {"scale": (0.25, 0.25), "ratio": (1.0, 1.0)},
        "weak": {
            **{"num_crops": 1, "pad": 0.125, "scale": (0.64, 0.64), "ratio": (1.0, 1.0)},
            **{"jitter_prob": 0.0, "grayscale_prob": 0.0, "blur_prob": 0.0, "solarize_prob": 0.0},
        },
        "simclr": {"num_crops": 2, "hue": 0.1, "blur_prob": 0.0, "solarize_prob": 0.0},
        "whole": {
            **{"num_crops": 1, "scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip_prob": 0.0},
            **{"jitter_prob": 0.0, "grayscale_prob": 0.0, "blur_prob": 0.0, "solarize_prob": 0.0},
        },
    }
)
