"""Networks of timm as encoders: with the weights of a file, and what is refused."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from solo_adv import UserError, load_pretrained


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model("resnet18").eval()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_of_a_file(network, tmp_path, suffix):
    file = tmp_path / f"weights.{suffix}"
    (torch.save if suffix == "pth" else save_file)(network.state_dict(), file)
    encoder = load_pretrained(f"timm:resnet18@{file}")
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert encoder.image_size == 224
    assert encoder.features == "backbone"
    pixels = torch.rand(2, 3, 64, 64)
    normalized = (pixels - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    expected = network.forward_head(network.forward_features(normalized), pre_logits=True)
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-5, rtol=1e-5)


def test_a_training_checkpoint_and_weights_without_a_classifier(tmp_path):
    state = timm.create_model("resnet18", num_classes=0).state_dict()
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a.pt")
    encoder = load_pretrained(f"timm:resnet18@{tmp_path}/a.pt")
    assert torch.equal(encoder.backbone.conv1.weight, state["conv1.weight"])


@pytest.mark.slow
def test_a_tag_decides_the_normalisation(tmp_path):
    network = timm.create_model("vit_tiny_patch16_224")
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    encoder = load_pretrained(f"timm:vit_tiny_patch16_224.augreg_in21k@{tmp_path}/a.safetensors")
    assert encoder.normalization.statistics == ([0.5] * 3, [0.5] * 3)
    assert encoder(torch.rand(1, 3, 224, 224)).shape == (1, 192)


def test_timms_own_weights_are_asked_for_once(network, monkeypatch):
    asked = []

    def create(name, **options):
        asked.append((name, options))
        copy = timm.models.resnet18(num_classes=0)
        state = {k: v for k, v in network.state_dict().items() if not k.startswith("fc.")}
        copy.load_state_dict(state)
        return copy

    original = timm.create_model
    monkeypatch.setattr(
        timm,
        "create_model",
        lambda name, **o: (create if o.get("pretrained") else original)(name, **o),
    )
    encoder = load_pretrained("timm:resnet18.a1_in1k")
    assert asked == [("resnet18.a1_in1k", {"pretrained": True, "num_classes": 0})]
    assert torch.equal(encoder.backbone.conv1.weight, network.conv1.weight)
    assert encoder.config["backbone"]["name"] == "resnet18"


def test_weights_that_cannot_be_had(monkeypatch):
    def offline(name, **options):
        raise OSError("The hub is\n not there.")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError, match=r"weights of resnet18: The hub is not there\. .*@FILE"):
        load_pretrained("timm:resnet18")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm:reset18", "Unknown network of timm 'reset18'. Did you mean 'resnet18'"),
        ("timm:", "Unknown network of timm ''"),
        ("timm:resnet18.a9", "no weights 'resnet18.a9'; it has resnet18.a1_in1k, "),
        ("timm:vit_base_patch16_18x2_224", "it has none. .* timm:vit_base_patch16_18x2_224@FILE"),
        ("timm:resnet18@/no/such.pth", "There is no weights file /no/such.pth"),
    ],
)
def test_wrong_names(name, words):
    with pytest.raises(UserError, match=words):
        load_pretrained(name)


def test_files_that_are_not_weights(network, tmp_path):
    (tmp_path / "text.pth").write_text("weights")
    torch.save({"a": 1}, tmp_path / "numbers.pth")
    torch.save(network, tmp_path / "code.pth")
    torch.save(network.state_dict(), tmp_path / "right.pth")
    for file, words in (
        ("text", "is not a readable weights file"),
        ("numbers", "holds something else than tensors"),
        ("code", "because loading more would run code"),
    ):
        with pytest.raises(UserError, match=words):
            load_pretrained(f"timm:resnet18@{tmp_path}/{file}.pth")
    with pytest.raises(UserError, match="do not fit"):
        load_pretrained(f"timm:resnet34@{tmp_path}/right.pth")
    with pytest.raises(UserError, match="has no projector"):
        load_pretrained(f"timm:resnet18@{tmp_path}/right.pth", features="hidden")
    with pytest.raises(UserError, match="head=linear needs a model of the zoo"):
        load_pretrained(f"timm:resnet18@{tmp_path}/right.pth", head="linear")


@pytest.mark.parametrize("name", ["resnet10t", "resnet18d", "resnetaa50"])
def test_variants_of_resnets_keep_their_own_stem(tmp_path, name):
    network = timm.create_model(name, num_classes=0).eval()
    torch.save(network.state_dict(), tmp_path / "a.pth")
    size = network.pretrained_cfg["input_size"][-1]
    pixels = torch.rand(1, 3, size, size)
    encoder = load_pretrained(f"timm:{name}@{tmp_path}/a.pth")
    with torch.no_grad():
        expected = network(encoder.normalization(pixels))
        torch.testing.assert_close(encoder(pixels), expected)
