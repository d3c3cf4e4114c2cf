"""Finds and reads the published pictures of frost, which this package does not contain."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path

FROST_PICTURES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""The published pictures of frost. There is a sixth, which the published code never draws."""

FROST_PACKAGE = "imagecorruptions"
"""A package of the package index that contains the published pictures, in its folder ``frost``."""


def frost_directory(given: str | None) -> Path | None:
    """Where the pictures of frost are: the given folder, or the installed package's.

    Returns:
        The folder; None if none was given and the package is not installed.

    Raises:
        UserError: the given folder lacks a picture.
    """
    if given is None:
        spec = find_spec(FROST_PACKAGE)
        if spec is None or spec.origin is None:
            return None
        directory = Path(spec.origin).parent / "frost"
        complete = all((directory / name).is_file() for name in FROST_PICTURES)
        return directory if complete else None
    directory = given_path(given)
    for name in FROST_PICTURES:
        if not (directory / name).is_file():
            raise UserError(
                f"frost_pictures='{directory}' has no {name}. The folder must hold the published "
                f"pictures {', '.join(FROST_PICTURES)}, which are in the package {FROST_PACKAGE}."
            )
    return directory


@lru_cache(maxsize=1)
def frost_pictures(directory: Path) -> tuple[np.ndarray, ...]:
    """The pictures in a folder, uint8 (H, W, 3).

    Raises:
        UserError: a picture cannot be read.
    """
    found = []
    for name in FROST_PICTURES:
        try:
            with Image.open(directory / name) as picture:
                found.append(np.asarray(picture.convert("RGB")))
        except OSError as error:
            raise UserError(f"'{directory / name}' cannot be read as a picture.") from error
    return tuple(found)
