"""The digits data set: scans of handwriting that scikit-learn ships, so nothing is downloaded."""

import numpy as np
import torch
from PIL import Image

from solo_adv.data.config import DataConfig
from solo_adv.data.decoding import to_square
from solo_adv.data.sources import ArraySources, RawSplit

IMAGE_SIZE = 16
STORED_SIZE = "8x8"
TEST_IMAGES = 500
SPLIT_SEED = 0  # independent of a run's seed, because the split is part of the data set
BRIGHTEST = 16  # scikit-learn's grey levels are 0..16


def read(config: DataConfig, split: str) -> RawSplit:
    """Read the 1,297 train or 500 test images of 10 classes.

    They are enlarged from 8x8 to 16x16 pixels, or to ``config.image_size`` if it is given.
    """
    # scikit-learn takes long to import, and others read this module's constants.
    from sklearn.datasets import load_digits  # noqa: PLC0415
    from sklearn.model_selection import train_test_split  # noqa: PLC0415

    digits = load_digits()
    train, test = train_test_split(
        np.arange(len(digits.target)),
        test_size=TEST_IMAGES,
        stratify=digits.target,
        random_state=SPLIT_SEED,
    )
    rows = np.sort(train if split == "train" else test)
    grey = np.rint(digits.images[rows] * (255 / BRIGHTEST)).astype(np.uint8)
    side = config.image_size or IMAGE_SIZE
    enlarged = np.stack([np.asarray(to_square(Image.fromarray(image), side)) for image in grey])
    rgb = np.repeat(enlarged[..., None], 3, axis=3)
    labels = torch.from_numpy(digits.target[rows].astype(np.int64))
    names = tuple(str(name) for name in digits.target_names)
    return RawSplit(ArraySources(rgb), labels, names, stored_size=STORED_SIZE)
