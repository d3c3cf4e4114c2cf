"""Runs the published code of the corruptions, from a checkout, with random numbers of our choice.

The code of 2019 is run as it is: what it asks of libraries that have changed since is handed in.
"""

import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

CHECKOUT = "SOLO_ADV_ROBUSTNESS"
"""Environment variable that names a checkout of https://github.com/hendrycks/robustness."""

SCRIPTS = {32: "make_cifar_c.py", 64: "make_tinyimagenet_c.py", 224: "make_imagenet_c.py"}
END = "# /////////////// End Distortions"


class Numpy:
    """numpy with the names that the code uses, and with random numbers of one generator."""

    float_ = np.float64

    def __init__(self, generator):
        self.random = SimpleNamespace(
            normal=generator.normal,
            uniform=generator.uniform,
            poisson=generator.poisson,
            randint=generator.integers,
        )

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def fromstring(text, dtype):
        return np.frombuffer(text, dtype)


class Published:
    """The functions of one script."""

    def __init__(self, size, monkeypatch):
        if CHECKOUT not in os.environ:
            pytest.skip(f"{CHECKOUT} names no checkout of hendrycks/robustness")
        for library in ("cv2", "skimage.color", "skimage.filters", "skimage.util", "wand.image"):
            pytest.importorskip(library)
        self.folder = Path(os.environ[CHECKOUT], "ImageNet-C", "create_c")
        monkeypatch.setitem(sys.modules, "scipy.ndimage.interpolation", scipy.ndimage)
        monkeypatch.chdir(self.folder)  # the code reads the pictures of frost from where it runs
        source = (self.folder / SCRIPTS[size]).read_text().split(END)[0]
        self.names = {}
        exec(compile(source, SCRIPTS[size], "exec"), self.names)

    def corrupt(self, image, corruption, severity, generator):
        """Corrupt one image, uint8 (S, S, 3), as the scripts save it."""
        color, filters, util = map(
            importlib.import_module, ("skimage.color", "skimage.filters", "skimage.util")
        )

        def gaussian(image, *sigma, multichannel=False, **more):
            axis = -1 if multichannel else None
            return filters.gaussian(image, *sigma, channel_axis=axis, **more)

        def random_noise(image, **more):
            return util.random_noise(image, rng=generator, **more)

        self.names["np"] = Numpy(generator)
        self.names["gaussian"] = gaussian
        self.names["sk"] = SimpleNamespace(
            color=color, util=SimpleNamespace(random_noise=random_noise)
        )
        return np.uint8(self.names[corruption](Image.fromarray(image), severity))
