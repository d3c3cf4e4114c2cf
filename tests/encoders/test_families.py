"""A network of every family of timm is built, trained, and read from its checkpoint. Slow."""

import json

import pytest
import timm
import torch
from omegaconf import OmegaConf

from solo_adv import METHODS, UserError, load_pretrained
from tests.methods.conftest import config, fit_method

pytestmark = pytest.mark.slow


def smallest(module):
    """The name of a module's network with the fewest parameters, and its image size."""
    found = []
    for name in timm.list_models(module=module):
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
    try:
        method = METHODS["emp_ssl"](cfg)
    except UserError as refusal:
        assert name in str(refusal)  # the message says why; it is no traceback
        pytest.skip(f"refused: {refusal}")
    trainer = fit_method(method)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "args.json").write_text(json.dumps(OmegaConf.to_container(cfg)))
    encoder = load_pretrained(tmp_path, features="backbone")
    pixels = torch.rand(1, 3, size, size)
    with torch.no_grad():
        expected = method.eval().backbone(method.from_pixels(pixels))
        torch.testing.assert_close(encoder(pixels), expected)
    assert expected.shape == (1, encoder.features_dim)
