from pathlib import Path

import pytest
import yaml

import solo_adv
from solo_adv.crops import CropOptions, CropSpec, build
from solo_adv.crops.spec import PRESETS
from solo_adv.crops.torch import TorchCrops
from solo_adv.crops.torchvision import TorchvisionCrops
from solo_adv.support.errors import UserError

CONF = Path(solo_adv.__file__).parent / "conf" / "crops"


def test_emp_family_draws_what_the_reference_code_draws():
    spec = CropSpec.preset("multi_crop")
    assert (spec.num_crops, spec.size, spec.interpolation) == (16, 32, "bilinear")
    assert (spec.scale, spec.ratio) == ((0.08, 1.0), (3 / 4, 4 / 3))
    assert (spec.flip_prob, spec.jitter_prob, spec.grayscale_prob) == (0.5, 0.8, 0.2)
    assert (spec.brightness, spec.contrast, spec.saturation, spec.hue) == (0.4, 0.4, 0.4, 0.2)
    assert (spec.blur_prob, spec.blur_sigma, spec.solarize_prob) == (0.1, (0.1, 2.0), 0.1)


def test_fixed_patch_differs_from_multi_crop_in_the_box_alone():
    patch = CropSpec.preset("fixed_patch")
    assert (patch.scale, patch.ratio) == ((0.25, 0.25), (1.0, 1.0))
    assert patch == CropSpec.preset("multi_crop", scale=(0.25, 0.25), ratio=(1, 1))


def test_simclr_has_two_crops_less_hue_no_blur_and_no_solarise():
    assert CropSpec.preset("simclr") == CropSpec.preset(
        "multi_crop", num_crops=2, hue=0.1, blur_prob=0, solarize_prob=0
    )


@pytest.mark.parametrize("name", PRESETS)
def test_config_file_is_the_preset(name):
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert {key: config.pop(key) for key in CropOptions.defaults()} == CropOptions.defaults()
    assert config.keys() == CropSpec.__dataclass_fields__.keys()
    assert CropSpec.from_config(config) == CropSpec.preset(name)


def test_every_preset_has_a_config_file():
    assert {path.stem for path in CONF.glob("*.yaml")} == PRESETS.keys()


def test_preset_takes_overrides():
    spec = CropSpec.preset("simclr", num_crops=4, size=64, blur_prob=0.3)
    assert (spec.num_crops, spec.size, spec.blur_prob, spec.hue) == (4, 64, 0.3, 0.1)


def test_lists_become_pairs_and_the_spec_stays_hashable():
    spec = CropSpec.from_config({"scale": [0.2, 1], "blur_sigma": [1, 2]})
    assert (spec.scale, spec.blur_sigma) == ((0.2, 1.0), (1.0, 2.0))
    assert hash(spec) == hash(CropSpec(scale=(0.2, 1.0), blur_sigma=(1.0, 2.0)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_crops", 0),
        ("num_crops", 2.0),
        ("num_crops", True),
        ("size", -1),
        ("size", "32"),
        ("scale", (0.0, 1.0)),
        ("scale", (0.5, 1.1)),
        ("scale", (0.5, 0.2)),
        ("scale", 0.5),
        ("scale", (0.5,)),
        ("scale", "12"),
        ("ratio", (0.0, 1.0)),
        ("ratio", (2.0, 1.0)),
        ("ratio", (1.0, float("inf"))),
        ("blur_sigma", (0.0, 1.0)),
        ("blur_sigma", (2.0, 1.0)),
        ("flip_prob", 1.1),
        ("jitter_prob", -0.1),
        ("grayscale_prob", None),
        ("blur_prob", float("nan")),
        ("solarize_prob", 2),
        ("brightness", -0.1),
        ("contrast", -0.1),
        ("saturation", "much"),
        ("hue", 0.6),
        ("interpolation", "nearest"),
    ],
)
def test_bad_value_is_refused_in_one_line_that_names_the_key(key, value):
    with pytest.raises(UserError, match=f"crops.{key}") as error:
        CropSpec(**{key: value})
    assert "\n" not in str(error.value)


def test_error_for_an_unknown_key_names_the_nearest():
    with pytest.raises(UserError, match=r"'sclae'\. Did you mean 'scale'"):
        CropSpec.from_config({"sclae": [0.1, 1.0]})
    with pytest.raises(UserError, match="key in crops 'backend'"):
        CropSpec.from_config({"backend": "torch"})
    with pytest.raises(UserError, match="Did you mean 'flip_prob'"):
        CropSpec.preset("simclr", flip_probs=0.1)


def test_error_for_an_unknown_preset_names_the_nearest():
    with pytest.raises(UserError, match="Did you mean 'multi_crop'"):
        CropSpec.preset("multicrop")


def test_build_makes_the_backend_with_its_seed(make_images):
    spec = CropSpec(num_crops=2, size=16)
    torch_crops = build(spec, seed=3)
    assert isinstance(torch_crops, TorchCrops)
    assert isinstance(build(spec, "torchvision"), TorchvisionCrops)
    assert torch_crops(make_images()).equal(TorchCrops(spec, seed=3)(make_images()))


def test_unknown_backend_is_refused():
    with pytest.raises(UserError, match=r"crops\.backend 'torchvison'. Did you mean 'torchvision'"):
        build(CropSpec(), "torchvison")
