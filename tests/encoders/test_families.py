"""A network of every family of timm is built, trained, and read from its checkpoint. Slow."""

import json
import re

import pytest
import timm
import torch
from omegaconf import OmegaConf

from solo_adv import METHODS, UserError, load_pretrained
from tests.methods.conftest import config, fit_method

pytestmark = pytest.mark.slow


SMALL = re.compile(r"atto|femto|pico|nano|micro|mini|tiny|small|xxs|_xs|_s\d?|t0|b0|0[1-5]0|1[048]")
PATCH = re.compile(r"patch\d+")
COUNTED = 8
HEAVY = 40_000_000
LARGE = 256
IMAGES = 2
SHALLOW = {"depth": 2, "img_size": 224}
"""What makes a transformer small that is published in large sizes only."""


def sounds_large(name):
    return not SMALL.search(PATCH.sub("", name))


def counted(name, **kwargs):
    """The number of weights of a network, and the size of its images."""
    with torch.device("meta"):
        network = timm.create_model(name, **kwargs)
    size = kwargs.get("img_size", network.pretrained_cfg.get("input_size", (3, 224, 224))[-1])
    return sum(p.numel() for p in network.parameters()), size


def smallest(module):
    """Of some networks of a module, the one with fewest weights: name, image size and arguments.

    Names that speak of a small network are looked at first. A heavy transformer is made shallow.
    """
    found = []
    for name in sorted(timm.list_models(module=module), key=sounds_large)[:COUNTED]:
        try:
            weights, size = counted(name)
        except (RuntimeError, NotImplementedError):  # it computes with its weights when it is built
            continue
        found.append((weights, name, size))
    if not found:
        pytest.skip(f"{module}: no network can be counted")
    weights, name, size = min(found)
    if weights > HEAVY or size > LARGE:
        try:
            return name, counted(name, **SHALLOW)[1], SHALLOW
        except TypeError:  # it has no such arguments
            pass
    return name, size, {}


@pytest.mark.parametrize("module", timm.list_modules())
def test_a_network_of_every_family(module, tmp_path):
    name, size, kwargs = smallest(module)
    cfg = config("emp_ssl")
    cfg.backbone = {"name": name, "kwargs": kwargs}
    cfg.optimizer.batch_size = IMAGES
    cfg.crops.size = size
    cfg.optimizer.lr = 1e-4  # a larger step makes some networks overflow
    refusal = ""
    try:
        method = METHODS["emp_ssl"](cfg)
    except UserError as error:
        refusal = str(error)
    if refusal:
        assert name in refusal
        pytest.skip(refusal)
    trainer = fit_method(method, batch_size=IMAGES)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "args.json").write_text(json.dumps(OmegaConf.to_container(cfg)))
    encoder = load_pretrained(tmp_path, features="backbone")
    pixels = torch.rand(1, 3, size, size)
    with torch.no_grad():
        expected = method.eval().backbone(method.from_pixels(pixels))
        torch.testing.assert_close(encoder(pixels), expected)
    assert expected.shape == (1, encoder.features_dim)
