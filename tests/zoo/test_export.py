"""An export computes the same in other software, or it is refused with the reason."""

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from solo_adv import UserError, load_pretrained
from solo_adv.catalogue.entry import StoredFile, described
from solo_adv.encoders.backbones import Normalization, build_backbone
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.zoo import find, load
from solo_adv.zoo.export import TARGETS, export
from solo_adv.zoo.export import timm as to_timm
from solo_adv.zoo.export.resnet import embed
from solo_adv.zoo.export.solo_learn import fold
from solo_adv.zoo.export.torchvision import resnet

SOLO_LEARN = os.environ.get("SOLO_LEARN_ROOT")
CIFAR = ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])


def pixels(size, count=4):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(7))


def equal(given, expected):
    """Check outputs to 1e-5 of their range; the features that embedding adds must be zero."""
    dims = expected.shape[1]
    assert (given[:, :dims] - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert not given[:, dims:].any()


def used(network, size):
    """Give batch norms running statistics and random scales and shifts, as training would."""
    torch.manual_seed(1)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
    with torch.no_grad():
        network.train()(torch.rand(8, 3, size, size))
    return network.eval()


@pytest.fixture
def made(published, tmp_path, monkeypatch):
    """A function that makes an entry with any backbone, as if trained; it has only a backbone."""

    def make(name="resnet18", stem="cifar", size=32, dataset="cifar10", stats=None, **kwargs):
        entry = published.entry
        config = copy.deepcopy(entry.training["config"])
        config["backbone"] = {"name": name, "stem": stem, "kwargs": kwargs}
        config["crops"]["size"] = size
        config["data"] |= {"dataset": dataset, "image_size": size}
        if stats:
            config["data"] |= {"mean": stats[0], "std": stats[1]}
        network, dim = build_backbone(name, image_size=size, stem=stem, **kwargs)
        used(network, size)
        file = tmp_path / "made" / "models" / "made" / "encoder.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({f"backbone.{k}": v for k, v in network.state_dict().items()}, file)
        content = file.read_bytes()
        stored = StoredFile(
            path="models/made/encoder.safetensors",
            size=len(content),
            sha256=sha256(content).hexdigest(),
        )
        monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(tmp_path / "made"))
        statistics = dict(zip(("mean", "std"), stats or ([0.0] * 3, [1.0] * 3), strict=True))
        return replace(
            entry,
            backbone=described(config)["backbone"],
            image_size=size,
            dataset=dataset,
            features="backbone",
            feature_dims={"backbone": dim},
            files={"encoder": stored},
            training={**entry.training, "config": config},
            **statistics,
        ), nn.Sequential(Normalization(*(stats or (None, None))), network)

    return make


BACKBONES = [
    {"width": 8, "layers": [1, 1, 1, 1], "size": 16},
    {"width": 16, "stem": "cifar_padding2", "stats": CIFAR},
    {"stem": "imagenet", "size": 64, "width": 16},
    {"name": "resnet50", "layers": [1, 1, 1, 1], "width": 8},
]


@pytest.mark.parametrize("backbone", BACKBONES, ids=str)
def test_timm_creates_the_same_network_from_the_checkpoint(made, tmp_path, backbone):
    entry, original = made(**backbone)
    export(entry, "timm", tmp_path / "out")
    recipe = json.loads((tmp_path / "out" / "create_model.json").read_text())
    network = timm.create_model(
        recipe["model_name"],
        checkpoint_path=str(tmp_path / "out" / "model.safetensors"),
        **recipe["arguments"],
    ).eval()
    images = pixels(entry.image_size)
    equal(network(to_timm.prepared(images, recipe)), original(images))


def test_timm_gets_other_networks_as_they_are(made, tmp_path):
    entry, original = made(
        "vit_tiny_patch16_224", "auto", size=32, depth=1, embed_dim=16, num_heads=2
    )
    export(entry, "timm", tmp_path / "out")
    recipe = json.loads((tmp_path / "out" / "create_model.json").read_text())
    file = str(tmp_path / "out" / "model.safetensors")
    network = timm.create_model("vit_tiny_patch16_224", checkpoint_path=file, **recipe["arguments"])
    equal(network.eval()(pixels(32)), original(pixels(32)))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["timm", "torchvision"])
def test_the_lines_that_come_with_an_export_work_alone(made, tmp_path, target):
    entry, original = made(width=8, layers=[1, 1, 1, 1], size=16, stats=CIFAR)
    export(entry, target, tmp_path / "out")
    if target == "timm":
        code = (tmp_path / "out" / "README.md").read_text().split("```python")[1].split("```")[0]
        code = code.replace("x = torch.rand(8, 3, 16, 16)", "x = torch.load('x.pt')")
    else:
        code = "import torch, model; features = model.load()(torch.load('x.pt'))"
    torch.save(pixels(16), tmp_path / "out" / "x.pt")
    # Without this setting torch would import the entry points of installed plugins.
    environment = os.environ | {"PYTHONPATH": "", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    code += "\nimport sys; assert 'solo_adv' not in sys.modules"
    code += "\ntorch.save(features.detach(), 'f.pt')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "out", env=environment, check=True)
    equal(torch.load(tmp_path / "out" / "f.pt"), original(pixels(16)))


def test_solo_learns_own_stem_and_statistics_are_exported_exactly(made, tmp_path):
    entry, original = made(stem="cifar_padding2", stats=CIFAR, width=16)
    export(entry, "solo-learn", tmp_path / "out")
    equal(load_pretrained(tmp_path / "out")(pixels(32)), original(pixels(32)))
    assert "nothing: outputs are equal" in (tmp_path / "out" / "README.md").read_text()


def test_the_page_says_what_differs_under_solo_learn(made, tmp_path):
    entry, original = made(width=16)
    export(entry, "solo-learn", tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text()
    assert "its stem is cifar_padding2" in page
    assert "folded into the first layer" in page
    given = load_pretrained(tmp_path / "out")(pixels(32))[:, :128]
    cosine = torch.cosine_similarity(given, original(pixels(32)))
    assert 0.9 < cosine.min() < cosine.max() < 0.99999


def test_folded_statistics_are_exact_inside_the_image():
    network = used(resnet("resnet18", "cifar"), 32)
    mean, std = map(torch.tensor, CIFAR)
    other = copy.deepcopy(network)
    other.load_state_dict(
        fold(dict(network.state_dict()), torch.zeros(3), torch.ones(3), mean, std)
    )
    images = pixels(32)
    normalized = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    maps = network.bn1(network.conv1(images)), other.bn1(other.conv1(normalized))
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    torch.testing.assert_close(maps[0][inside], maps[1][inside], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(*maps)  # the border differs


@pytest.mark.slow
@pytest.mark.skipif(not SOLO_LEARN, reason="set SOLO_LEARN_ROOT to a solo-learn checkout")
def test_solo_learns_main_linear_loads_every_weight(made, tmp_path):
    """Runs the lines of its main_linear.py that build the backbone and load the checkpoint."""
    entry, _ = made(width=16)
    export(entry, "solo-learn", tmp_path / "out")
    source = Path(SOLO_LEARN, "main_linear.py").read_text()
    lines = source[source.index("    backbone_model = ") : source.index("    # check if mixup")]
    body = "\n".join(line[4:] for line in lines.splitlines())
    (checkpoint,) = (tmp_path / "out").glob("*.ckpt")
    code = f"""
import logging, torch
from torch import nn
from omegaconf import OmegaConf
from solo.methods.base import BaseMethod
cfg = OmegaConf.create(dict(
    backbone=dict(name="resnet18", kwargs={{}}), data=dict(dataset="cifar10"),
    pretrain_method="cfamc", pretrained_feature_extractor={str(checkpoint)!r}))
{body}
torch.save(backbone.state_dict(), {str(tmp_path / "read.pt")!r})
"""
    environment = os.environ | {"PYTHONPATH": SOLO_LEARN}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    written = torch.load(checkpoint)["state_dict"]
    read = {f"backbone.{name}": value for name, value in torch.load(tmp_path / "read.pt").items()}
    assert weights_fingerprint(read) == weights_fingerprint(written)


@pytest.mark.parametrize(
    "head", [None, pytest.param("linear", marks=pytest.mark.slow), "robust_linear"]
)
def test_onnxruntime_gives_the_same_for_any_batch(zoo, tmp_path, head):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    if torch.__version__ < torch.torch_version.TorchVersion("2.7"):
        pytest.skip("the exporter of torch 2.6 fails with today's protobuf and onnxscript")
    export(zoo.entry, "onnx", tmp_path / "out", head=head)
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    for count in (1, 4):
        (given,) = session.run(None, {"pixels": pixels(16, count).numpy()})
        equal(torch.from_numpy(given), load_pretrained(zoo.name, head=head)(pixels(16, count)))


def test_a_hugging_face_folder_is_a_zoo_with_a_card(zoo, tmp_path, monkeypatch):
    original = load(zoo.name, head="linear")
    export(zoo.entry, "hf", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for words in ("library_name: solo-adv", "PGD-3 at 8/255", "Threat model", "Limits", "use"):
        assert words in card
    assert json.loads((tmp_path / "out" / "config.json").read_text())["method"] == "cfamc"
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(tmp_path / "out"))
    assert find(zoo.name) == zoo.entry
    assert torch.equal(load(zoo.name, head="linear")(pixels(16)), original(pixels(16)))


REFUSED = [
    ("torchvision", {"width": 128}, r"conv1.weight.*\(64, 3, 3, 3\), ours \(128, 3, 3, 3\)"),
    ("torchvision", {"layers": [3, 1, 1, 1], "width": 8}, r"no layer 'layer1\.2"),
    ("torchvision", {"name": "resnet26", "width": 8}, "cannot express resnet26.*resnet18"),
    ("solo-learn", {"width": 8, "dataset": "digits", "size": 16}, "builds the imagenet stem"),
    ("timm", {"width": 8, "drop_path_rate": 0.1}, "drop_path_rate=0.1"),
]


@pytest.mark.parametrize(("target", "backbone", "words"), REFUSED)
def test_what_a_target_cannot_express_is_refused(made, tmp_path, target, backbone, words):
    entry, _ = made(**backbone)
    with pytest.raises(UserError, match=words):
        export(entry, target, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_requests_are_refused_early(zoo, tmp_path):
    with pytest.raises(UserError, match=f"Accepted: .*{max(TARGETS)}"):
        export(zoo.entry, "tensorflow", tmp_path / "out")
    with pytest.raises(UserError, match="--head is for onnx"):
        export(zoo.entry, "timm", tmp_path / "out", head="linear")
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        export(zoo.entry, "hf", tmp_path)
    assert (tmp_path / "kept.txt").exists()


def test_an_embedded_network_computes_the_same():
    narrow, _ = build_backbone(
        "resnet18", image_size=32, stem="cifar", width=8, layers=[1, 2, 1, 1]
    )
    used(narrow, 32)
    wide = used(resnet("resnet18", "cifar"), 32)
    wide.load_state_dict(embed(narrow.state_dict(), wide, "torchvision"))
    equal(wide(pixels(32)), narrow(pixels(32)))
