"""Loading a name gives the trained network to the last bit, or an error with the reason."""

import json
from hashlib import sha256

import pytest
import torch
from safetensors.torch import load_file, save_file

import solo_adv
from solo_adv import UserError, load_pretrained
from solo_adv.data.labelled import load_labelled
from solo_adv.report.record import Report


def pixels(size=16, count=5):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("features", ["auto", "hidden", "backbone", "projector"])
def test_features_are_those_of_the_run_bit_by_bit(zoo, trained, features):
    encoder = load_pretrained(zoo.name, features=features)
    original = load_pretrained(trained.checkpoint, features=features)
    assert torch.equal(encoder(pixels()), original(pixels()))
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.crop_passes == original.crop_passes > 0
    assert encoder.features_dim == original.features_dim


@pytest.mark.parametrize(("head", "linear"), [("linear", "standard"), ("robust_linear", "robust")])
def test_a_head_gives_the_logits_that_its_report_counted(zoo, trained, head, linear):
    classifier = load_pretrained(zoo.name, head=head)
    report = next(
        report
        for report in map(Report.read, trained.reports.rglob("report.json"))
        if report.config["linear"] == linear
    )
    _, test_set = load_labelled(report.pretrain_config["data"], {})
    drawn = torch.randperm(500, generator=torch.Generator().manual_seed(5))[:60].sort().values
    logits = classifier(test_set.images[drawn].float() / 255)
    assert logits.shape == (60, 10)
    counted = report.by_label["clean"].correct
    assert int((logits.argmax(1) == test_set.labels[drawn]).sum()) == counted


def test_heads_take_the_features_they_were_trained_on(zoo):
    with pytest.raises(UserError, match="take features=hidden, not backbone"):
        load_pretrained(zoo.name, head="linear", features="backbone")
    with pytest.raises(UserError, match="robust_linear"):
        load_pretrained(zoo.name, head="robust")


def test_near_names_are_listed(zoo):
    with pytest.raises(UserError, match=rf"no file or directory.*Did you mean '{zoo.name}'"):
        load_pretrained("cfamc_tiny_digit")
    with pytest.raises(UserError, match="No checkpoint at"):
        load_pretrained("trained_models/cfamc")


def test_a_head_for_a_path_is_refused(trained):
    with pytest.raises(UserError, match=r"main_robust\.py"):
        load_pretrained(trained.checkpoint, head="linear")


def test_list_filters(zoo):
    assert zoo.name in solo_adv.zoo.list(dataset="digits", method="cfamc")
    assert zoo.name not in solo_adv.zoo.list(dataset="cifar10")
    assert zoo.name not in solo_adv.zoo.list(method="simclr")


@pytest.fixture
def altered(published, tmp_path, monkeypatch):
    """A function that puts other weights, with correct hashes, into a copy of the zoo."""

    def put(change):
        held = json.loads((published.directory / "index.json").read_text())
        file = held["models"][0]["files"]["encoder"]
        state = load_file(published.directory / file["path"])
        change(state)
        path = tmp_path / "zoo" / file["path"]
        path.parent.mkdir(parents=True)
        save_file(state, path)
        _describe(file, path)
        (tmp_path / "zoo" / "index.json").write_text(json.dumps(held))
        monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(tmp_path / "zoo"))

    return put


def _describe(file, path):
    file["sha256"], file["size"] = sha256(path.read_bytes()).hexdigest(), path.stat().st_size


def _foreign(state):
    state["momentum.weight"] = torch.zeros(1)


def _missing(state):
    del state["backbone.conv1.weight"]


def _misshapen(state):
    state["backbone.conv1.weight"] = torch.zeros(8, 3, 7, 7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_foreign, "Unexpected key.*momentum.weight"),
        (_missing, "Missing key.*backbone.conv1.weight"),
        (_misshapen, "size mismatch for backbone.conv1.weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused_with_the_reason(altered, published, change, words):
    altered(change)
    with pytest.raises(UserError, match=words):
        load_pretrained(published.name)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_a_pickle_under_another_name_does_not_run(published, tmp_path, monkeypatch, suffix):
    mark = tmp_path / "executed"
    bomb = tmp_path / "bomb.ckpt"
    torch.save({"state_dict": {}, "bomb": Bomb(str(mark))}, bomb)
    torch.load(bomb, weights_only=False)
    assert mark.exists()  # loading the pickle without protection runs its code
    mark.unlink()
    if suffix == "ckpt":
        with pytest.raises(UserError, match="refused because loading it would run code"):
            load_pretrained(bomb)
    else:
        held = json.loads((published.directory / "index.json").read_text())
        file = held["models"][0]["files"]["encoder"]
        path = tmp_path / "zoo" / file["path"]
        path.parent.mkdir(parents=True)
        bomb.rename(path)
        _describe(file, path)
        (tmp_path / "zoo" / "index.json").write_text(json.dumps(held))
        monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(tmp_path / "zoo"))
        with pytest.raises(UserError, match=r"not a safetensors file.*run code"):
            load_pretrained(published.name)
    assert not mark.exists()
