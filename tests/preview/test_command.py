"""The preview's command line, as a user types it."""

from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from solo_adv.crops import BACKENDS

HAS_DALI = find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None

TINY = ["data=digits", "backbone.kwargs.width=4", "crops.num_crops=3", "crops.size=12"]


@pytest.fixture
def preview(command):
    return partial(command, "preview.__main__", "--config-name")


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_sheet_of_an_adversarial_method_is_taller_than_of_a_clean_one(preview, tmp_path):
    status, out, err = preview("cfamc.yaml", *TINY, "--images", "3")
    assert status == 0, err
    assert out.strip() == "preview.png"
    assert err.strip().endswith(
        "Next: python -m solo_adv.commands.pretrain --config-name cfamc.yaml " + " ".join(TINY)
    )
    status, out, err = preview("emp_ssl.yaml", *TINY, "--images", "3", "--output", "new/clean.png")
    assert status == 0, err
    free, clean = pixels(tmp_path / "preview.png"), pixels(tmp_path / "new" / "clean.png")
    assert free.shape[0] > 2 * clean.shape[0]
    assert clean.std() > 10, "an empty sheet"


@pytest.mark.parametrize("method", ["robust_emp.yaml", "robust_simclr.yaml", "simclr_freeadv.yaml"])
def test_every_kind_of_adversary(preview, method):
    status, _, err = preview(method, *TINY, "--images", "2", "--views", "2")
    assert status == 0, err


def test_backends_draw_other_crops(preview, tmp_path):
    for backend in BACKENDS:
        if backend == "dali" and not HAS_DALI:
            continue
        arguments = ("emp_ssl.yaml", *TINY, "--images", "2", "--output", f"{backend}.png")
        status, _, err = preview(*arguments, f"crops.backend={backend}")
        assert status == 0, err
    ours, other = (pixels(tmp_path / f"{backend}.png") for backend in ("torch", "torchvision"))
    assert ours.shape != other.shape or (ours != other).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["crops.bakend=torch"], "Unknown key in crops 'bakend'"),
        (["+crops.bakend=torch"], "Did you mean 'backend'"),
        (["--images", "1"], "--images must be a whole number of at least 2"),
        (["--checkpoint", "nowhere.ckpt"], "No checkpoint at"),
        (["--output", "/proc/x/y.png"], "--output"),
        (["crops.backend=pil"], "torchvision"),
    ],
)
def test_mistakes_read_as_one_line(preview, arguments, words):
    status, _, err = preview("cfamc.yaml", *TINY, *arguments)
    lines = [line for line in err.splitlines() if line.strip()]
    assert status == 2, err
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert words in lines[0]
