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
COUNTED = 8


def smallest(module):
    """Of some networks of a module, the name and image size of the one with fewest parameters.

    Names that speak of a small network are looked at first.
    """
    found = []
    names = sorted(timm.list_models(module=module), key=lambda name: not SMALL.search(name))
    for name in names[:COUNTED]:
        try:
            with torch.device("meta"):
                network = timm.create_model(name)
        except (RuntimeError, NotImplementedError):  # it computes with its weights when it is built
            continue
        size = network.pretrained_cfg.get("input_size", (3, 224, 224))[-1]
        found.append((sum(p.numel() for p in network.parameters()), name, size))
    return min(found)[1:] if found else pytest.skip(f"{module}: no network can be counted")


@pytest.mark.parametrize("module", timm.list_modules())
def test_a_network_of_every_family(module, tmp_path):
    name, size = smallest(module)
    cfg = config("emp_ssl")
    cfg.backbone = {"name": name}
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
    trainer = fit_method(method)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "args.json").write_text(json.dumps(OmegaConf.to_container(cfg)))
    encoder = load_pretrained(tmp_path, features="backbone")
    pixels = torch.rand(1, 3, size, size)
    with torch.no_grad():
        expected = method.eval().backbone(method.from_pixels(pixels))
        torch.testing.assert_close(encoder(pixels), expected)
    assert expected.shape == (1, encoder.features_dim)
