"""Any crops of any images have pixels in [0, 1], or are refused with a message of our own."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from solo_adv.crops import CropSpec, build
from solo_adv.support.errors import UserError

PARTS = st.floats(-0.2, 1.2)
RANGES = st.tuples(st.floats(-0.1, 1.5), st.floats(-0.1, 1.5))
SPECS = st.fixed_dictionaries(
    {"num_crops": st.integers(0, 4), "size": st.integers(0, 24)},
    optional={
        "scale": RANGES,
        "ratio": st.tuples(st.floats(-0.1, 40), st.floats(-0.1, 40)),
        "interpolation": st.sampled_from(["bilinear", "bicubic", "nearest", "lanczos"]),
        "hue": PARTS,
        "brightness": st.floats(-0.5, 5),
        "blur_sigma": st.tuples(st.floats(-1, 5), st.floats(-1, 5)),
        **{f"{name}_prob": PARTS for name in ("flip", "jitter", "grayscale", "blur", "solarize")},
    },
)
IMAGES = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))


@given(settings=SPECS, shape=IMAGES, seed=st.integers(0, 100))
def test_crops(outcomes, settings, shape, seed):
    batch, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(
        0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator
    )
    try:
        spec = CropSpec(**settings)
        crops = build(spec, seed=seed)(images)
    except UserError:
        outcomes["crops: refused"] += 1
        return
    assert crops.shape == (spec.num_crops * batch, 3, spec.size, spec.size)
    assert torch.isfinite(crops).all()
    assert crops.min() >= 0
    assert crops.max() <= 1
    outcomes["crops: drawn"] += 1
