"""What a config of solo-learn's own methods means for one of ours; solo-learn is not needed."""

import pytest
from omegaconf import OmegaConf

from solo_adv.host.settings import CHECKS
from solo_adv.host.stock_configs import (
    delivers_whole_images,
    introduction,
    keys_read_by,
    of_other_methods,
    resolve_crops,
)
from solo_adv.methods.adversarial import AdversarialMethod

WHOLE = {
    "rrc": {"enabled": True, "crop_min_scale": 1.0, "crop_max_scale": 1.0},
    **{name: {"prob": 0.0} for name in ("color_jitter", "grayscale", "gaussian_blur")},
    **{name: {"prob": 0.0} for name in ("solarization", "equalization", "horizontal_flip")},
    "crop_size": 32,
    "num_crops": 2,
}


@pytest.mark.parametrize(
    ("change", "whole"),
    [
        ({}, True),
        ({"rrc": {"enabled": False, "crop_min_scale": 0.1, "crop_max_scale": 1.0}}, True),
        ({"rrc": {"enabled": True, "crop_min_scale": 0.08, "crop_max_scale": 1.0}}, False),
        ({"rrc": {"enabled": True}}, False),
        ({"horizontal_flip": {"prob": 0.5}}, False),
        ({"solarization": {"prob": 0.2}}, False),
        ({"color_jitter": {"prob": 0.8, "hue": 0.1}}, False),
    ],
)
def test_whole_images_have_no_random_augmentation(change, whole):
    assert delivers_whole_images({"augmentations": [{**WHOLE, **change}]}) == whole
    second = [WHOLE, {**WHOLE, **change}]
    assert delivers_whole_images({"augmentations": second}) == whole


RANDOM = {**WHOLE, "horizontal_flip": {"prob": 0.5}}


@pytest.mark.parametrize(
    ("augmentations", "given", "expected"),
    [
        ([WHOLE], {}, {"source": "device"}),
        ([WHOLE], {"source": "auto", "num_crops": 16}, {"source": "device", "num_crops": 16}),
        ([], {}, {"source": "device"}),
        ([RANDOM], {"num_crops": 16}, {"source": "loader", "num_crops": 2, "size": 32}),
        ([RANDOM], {"source": "device", "num_crops": 16}, {"source": "device", "num_crops": 16}),
        (
            [RANDOM, {**RANDOM, "crop_size": 18, "num_crops": 6}],
            {},
            {"source": "loader", "num_crops": 2, "size": 32},
        ),
    ],
)
def test_random_views_are_the_crops_unless_crops_of_crops_are_asked_for(
    augmentations, given, expected
):
    cfg = OmegaConf.create(
        {"data": {"dataset": "cifar10"}, "augmentations": augmentations, "crops": given}
    )
    resolve_crops(cfg)
    assert OmegaConf.to_container(cfg.crops) == expected
    resolve_crops(cfg)
    assert OmegaConf.to_container(cfg.crops) == expected


def test_keys_of_other_methods_are_told_from_misspelled_ones():
    cfg = OmegaConf.create(
        {
            "method_kwargs": {
                **{"temperature": 0.2, "base_tau": 1, "tcr_epz": 0.2, "tcr_eps": 0.2},
                "consistency": 2.0,
            },
            "momentum": {"base_tau": 0.99},
        }
    )
    accepted = ["tcr_eps", "invariance_weight", "temperatur"]
    ours = [*accepted, "consistency"]  # a key of another method of this package is a mistake
    found = of_other_methods(cfg, accepted, ours, {"temperature"})
    assert found == ["method_kwargs.temperature", "method_kwargs.base_tau", "momentum"]


def test_keys_are_found_in_the_source_of_a_method():
    # Its docstring and its code name method_kwargs.proj_hidden_dim only through `section`, so the
    # text `cfg.method_kwargs.proj_output_dim` is what is found.
    assert "proj_output_dim" in keys_read_by([AdversarialMethod])


def test_the_line_at_the_start_says_what_was_made_of_the_config():
    cfg = OmegaConf.create(
        {
            "method": "cfamc",
            "max_epochs": 1000,
            "data": {"dataset": "cifar10"},
            "augmentations": [RANDOM, {**RANDOM, "crop_size": 18, "num_crops": 6}],
        }
    )
    resolve_crops(cfg)
    line = introduction(cfg, ["momentum"], 3)
    for said in ("2 views of 32 pixels", "6 views of other sizes", "whole_image", "momentum"):
        assert said in line
    assert "1000 epochs, 3 updates on each batch" in line
    cfg.crops = {"source": "device", "num_crops": 16, "size": 32}
    assert "draws 16 crops of 32 pixels from views that are crops already" in introduction(
        cfg, [], 1
    )
    cfg.augmentations = [WHOLE]
    assert "from whole images. 1000 epochs." in introduction(cfg, [], 1)


@pytest.mark.parametrize("given", [{}, {"source": "auto"}, {"source": None}])
def test_the_stand_in_host_draws_the_crops(given):
    cfg = OmegaConf.create(
        {
            "method": "emp_ssl",
            "backbone": {"name": "resnet18"},
            "data": {"dataset": "cifar10"},
            "optimizer": {"name": "sgd"},
            "scheduler": {"name": "none"},
            "crops": {"num_crops": 2, **given},
        }
    )
    assert CHECKS["emp_ssl"].add_and_assert_specific_cfg(cfg).crops.source == "device"
