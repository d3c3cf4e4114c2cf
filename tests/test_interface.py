"""The calls from Python: one line each, for methods, checkpoints and any network."""

import pytest
import torch
from hydra import compose, initialize_config_module
from torch import nn

import solo_adv
from solo_adv.support.errors import UserError

SMALL = {
    "optimizer": {"batch_size": 64},
    "crops": {"num_crops": 2, "size": 16},
    "backbone": {"kwargs": {"width": 8, "layers": [1, 1, 1, 1]}},
    "method_kwargs": {"proj_hidden_dim": 16, "proj_output_dim": 8},
}
QUICK = {"steps": 2, "max_images": 40, "alarm_images": 0, "epsilons": ["8/255"]}


class Pixels(nn.Module):
    """Ten logits, or features, that are weighted sums of pixels."""

    def __init__(self, width=10):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3 * 16 * 16, width)

    def forward(self, images):
        return self.linear(images.flatten(1))


@pytest.fixture
def images():
    """Sixty images and labels of ten classes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(60) % 10


def test_public_names_are_listed():
    names = dir(solo_adv)
    assert {"pretrain", "evaluate", "run_benchmark", "load_pretrained", "METHODS", "zoo"} <= set(
        names
    )
    assert not [name for name in names if name in ("annotations", "import_module", "Any")]


def test_pretrain_evaluate_and_benchmark(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {"data": {"fraction": 0.2}, **SMALL}
    with pytest.raises(UserError, match=r"Unknown method 'cfamk'\. Did you mean 'cfamc'"):
        solo_adv.pretrain("cfamk")
    checkpoint = solo_adv.pretrain(
        "cfamc", ["data=digits"], max_epochs=1, accelerator="cpu", **settings
    )
    assert checkpoint.name.endswith("-ep=0.ckpt")
    told = "".join(capsys.readouterr())
    assert not [word for word in ("GPU", "litlogger", "Warning") if word in told]
    assert solo_adv.load_pretrained(checkpoint).image_size == 16
    report = solo_adv.evaluate("latest", device="cpu", head={"min_updates": 2}, **QUICK)
    assert [m.total for m in report.attacks] == [40]
    assert (tmp_path / "results").is_dir()


def test_a_config_that_hydra_composed_is_taken_and_not_changed(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(
        "solo_adv.training.pretraining.pretrain", lambda cfg: taken.append(cfg) or "x"
    )
    with initialize_config_module("solo_adv.conf", version_base="1.3"):
        cfg = compose("cfamc", ["data=digits"])  # which refuses new keys
    assert solo_adv.pretrain(cfg) == "x"
    taken[0].new_key = 1
    assert "new_key" not in cfg
    with pytest.raises(UserError, match="has all settings in it"):
        solo_adv.pretrain(cfg, max_epochs=1)


def test_a_network_with_logits(images):
    pixels, labels = images
    model = Pixels().train()
    report = solo_adv.evaluate(model, images, device="cpu", **{**QUICK, "max_images": None})
    with torch.no_grad():
        right = (model(pixels / 255).argmax(1) == labels).sum()
    assert report.by_label["clean"].correct == right
    assert report.method == "Pixels"
    assert [m.name for m in report.measurements] == ["clean", "clean, top-5", "PGD-2"]
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    floats = solo_adv.evaluate(model, (pixels / 255, labels), device="cpu", **QUICK)
    assert floats.by_label["clean"].total == 40


def test_a_network_with_features_on_a_data_set():
    report = solo_adv.evaluate(
        Pixels(12), "digits", device="cpu", head={"min_updates": 2, "epochs": 1}, **QUICK
    )
    assert report.data["name"] == "digits"
    assert {m.name for m in report.measurements} == {"kNN", "clean", "clean, top-5", "PGD-2"}


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (Pixels(), None, "data is missing"),
        (Pixels(12), "images", "so they are features"),
        (Pixels(7), "images", "so they are features"),
        (nn.Identity(), "images", "must return one tensor"),
        (nn.Conv2d(1, 1, 3), "images", "does not take images of the shape"),
        (Pixels(), (torch.ones(4, 3, 16, 16) * 255, torch.arange(4)), "float in .0, 1."),
        (Pixels(), (torch.ones(4, 3, 16, 16), torch.eye(4)), "labels.argmax"),
        (Pixels(), (torch.ones(4, 16, 16), torch.arange(4)), r"must be \(N, 3, H, W\)"),
        (Pixels(), "nothing", "Unknown|dataset"),
    ],
)
def test_what_is_refused(model, data, words, images):
    with pytest.raises(UserError, match=words):
        solo_adv.evaluate(model, images if data == "images" else data, device="cpu", **QUICK)


def test_too_few_logits_are_named(images):
    with pytest.raises(UserError, match="too few for 10 classes"):
        solo_adv.evaluate(Pixels(7), images, output="logits", device="cpu", **QUICK)
