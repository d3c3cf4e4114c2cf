"""Checkpoints of the field's repositories, made with their own classes from checkouts of them.

``SOLO_ADV_FIELD`` names a folder with checkouts under the names that they have on GitHub:
``Adversarial-Contrastive-Learning``, ``DYNACL``, ``AdvCL``, ``A-InfoNCE``, ``DeACL``,
``Enhancing_ACL_via_AIR``, ``RobustSSL_Benchmark`` and ``lightly``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from solo_adv import load_pretrained
from solo_adv.encoders.foreign import EncoderSettings

pytestmark = pytest.mark.slow

# A script runs with a checkout's folder as its first argument, defines ``build``, and the lines
# after it save the network's weights and its own features. Modules that are missing from a checkout
# or that load more than the network needs are stood in for.
BEFORE = """
import importlib.util, sys, types
from pathlib import Path
import torch
from torch import nn

root = Path(sys.argv[1])

def module(file, name="network"):
    spec = importlib.util.spec_from_file_location(name, root / file)
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made

old = types.ModuleType("torchvision.models.utils")
old.load_state_dict_from_url = None
sys.modules["torchvision.models.utils"] = old
torch.manual_seed(0)
"""
AFTER = """
net, run = build()
for layer in net.modules():
    if isinstance(layer, nn.BatchNorm2d):
        layer.running_mean.normal_(0, 0.1)
        layer.running_var.uniform_(0.5, 1.5)
        nn.init.normal_(layer.bias, 0, 0.1)
net.eval()
size = int(sys.argv[3])
pixels = torch.rand(2, 3, size, size)
weights = {"WRAP": {"PREFIX" + name: value for name, value in net.state_dict().items()}, "epoch": 1}
with torch.no_grad():
    features = run(net, pixels)
torch.save(weights, Path(sys.argv[2]) / "a.pt")
torch.save({"pixels": pixels, "features": features}, Path(sys.argv[2]) / "expected.pt")
"""
SEVERAL = """
module("models/utils.py", "utils")
file = module("models/FILE.py")
def build():
    net = file.resnet18(bn_names=["normal", "pgd"])
    net.fc = file.proj_head(512, bn_names=["normal", "pgd"])
    return net, run
def run(net, pixels):
    net.fc = nn.Identity()
    return net(pixels, "pgd")
"""
MOMENTUM = """
module("models/utils.py", "utils")
file = module("models/resnet_multi_bn.py")
def build():
    net = file.resnet18_momentum(bn_names=["normal", "pgd"])
    return net, run
def run(net, pixels):
    net.encoder_k.fc = nn.Identity()
    return net.encoder_k(pixels, "pgd")
"""
SINGLE = """
module("models/utils.py", "utils")
file = module("models/resnet.py")
def build():
    return file.resnet18(num_classes=10), run
def run(net, pixels):
    net.fc = nn.Identity()
    return net(pixels)
"""
ADVCL = """
file = module("models/resnet_cifar_multibn_ensembleFC.py")
def build():
    return file.resnet18(bn_names=["normal", "pgd", "pgd_ce"]), run
def run(net, pixels):
    return net(pixels, "pgd", return_feat=True)
"""
DEACL = """
file = module("solo/models/resnet_add_normalize.py")
def build():
    net = file.resnet18_NormalizeInput()
    net.fc = nn.Identity()
    net.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
    net.maxpool = nn.Identity()
    return net, lambda net, pixels: net(pixels)
"""
LIGHTLY = """
for name in ("lightly", "lightly.models"):
    package = types.ModuleType(name)
    package.__path__ = [str(root / name.replace(".", "/"))]
    sys.modules[name] = package
from lightly.models.resnet import ResNetGenerator
def build():
    layers = list(ResNetGenerator("resnet-18").children())[:-1]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1)), run
def run(net, pixels):
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return net((pixels - mean) / std).flatten(1)
"""
STL = SEVERAL.replace("FILE", "resnet_multi_bn_stl")
SEVERAL = SEVERAL.replace("FILE", "resnet_multi_bn")
PLAIN = "RobustSSL_Benchmark/Finetuning_Methods/Vanilla_Finetuning"
CASES = {
    "acl": ("Adversarial-Contrastive-Learning", SEVERAL, "state_dict", "", 32),
    "dynacl": ("DYNACL", MOMENTUM, "state_dict", "", 32),
    "dynacl_stl10": ("DYNACL", STL, "state_dict", "", 96),
    "dynacl_pp": ("DYNACL", SINGLE, "state_dict", "", 32),
    "air": ("Enhancing_ACL_via_AIR", SEVERAL, "state_dict", "", 32),
    "robustssl": (PLAIN, SINGLE, "state_dict", "", 32),
    "advcl": ("AdvCL", ADVCL, "model", "module.", 32),
    "a_infonce": ("A-InfoNCE/Asym-AdvCL", ADVCL, "model", "module.", 32),
    "deacl": ("DeACL", DEACL, "state_dict", "backbone.", 32),
    "lightly": ("lightly", LIGHTLY, "state_dict", "backbone.", 32),
}


@pytest.mark.parametrize("case", CASES)
def test_the_features_are_those_of_the_repositorys_own_class(tmp_path, case):
    folder, script, wrap, prefix, size = CASES[case]
    checkouts = os.environ.get("SOLO_ADV_FIELD")
    if not checkouts or not (Path(checkouts) / folder).is_dir():
        pytest.skip(f"SOLO_ADV_FIELD=FOLDER with a checkout {folder.partition('/')[0]} enables it")
    after = AFTER.replace("WRAP", wrap).replace("PREFIX", prefix)
    subprocess.run(
        [
            sys.executable,
            "-c",
            BEFORE + script + after,
            Path(checkouts) / folder,
            tmp_path,
            str(size),
        ],
        check=True,
        cwd=tmp_path,
    )
    expected = torch.load(tmp_path / "expected.pt", weights_only=True)
    encoder = load_pretrained(tmp_path / "a.pt")
    assert encoder.image_size == size
    torch.testing.assert_close(
        encoder(expected["pixels"]), expected["features"], rtol=1e-4, atol=1e-5
    )
    other = load_pretrained(tmp_path / "a.pt", settings=EncoderSettings(mean=[0.1] * 3))
    assert not torch.allclose(other(expected["pixels"]), expected["features"], rtol=1e-3)
