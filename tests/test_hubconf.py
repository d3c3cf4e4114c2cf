"""The entry points for torch.hub."""

from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
MODEL = "cfamc_resnet10w16_digits_m3"


def test_torch_hub_loads_encoders_and_classifiers():
    encoder = torch.hub.load(str(ROOT), "encoder", source="local", name=MODEL, features="backbone")
    assert encoder(torch.rand(2, 3, 16, 16)).shape == (2, 128)
    classifier = torch.hub.load(str(ROOT), "classifier", source="local", name=MODEL)
    assert classifier(torch.rand(2, 3, 16, 16)).shape == (2, 10)
