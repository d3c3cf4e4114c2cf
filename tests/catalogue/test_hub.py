"""Models on the Hugging Face hub, which a local server plays, with the hub's own client."""

import hashlib
import importlib
import json

import pytest
import torch

from solo_adv import UserError, load_pretrained, zoo
from solo_adv.catalogue import hub as client
from tests.zoo.hub import LocalHub

MODEL = "cfamc_resnet10w16_digits_m3"
ADDRESS = "hf://me/digits"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    constants = pytest.importorskip("huggingface_hub.constants")
    local = LocalHub()
    monkeypatch.setenv("HF_ENDPOINT", local.url)
    monkeypatch.setenv("SOLO_ADV_CACHE", str(tmp_path / "ours"))
    files = local.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", local.url)  # earlier versions ask it, too
    for module in (constants, importlib.import_module("huggingface_hub.file_download")):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", files, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    yield local
    local.close()


@pytest.fixture
def pushed(hub, monkeypatch):
    """A hub with a model that is not known by its files elsewhere on this machine."""
    zoo.push_to_hub(MODEL, "me/digits")
    files = hub.repositories["me/digits"]["main"]
    monkeypatch.setattr("solo_adv.catalogue.download.present", lambda file: None)
    return files


def test_a_pushed_model_is_loaded(hub, pushed):
    assert {"README.md", "config.json", "index.json"} <= pushed.keys()
    assert "hf://OWNER/NAME" in pushed["README.md"].decode()
    theirs = load_pretrained(ADDRESS)
    assert f"HEAD /me/digits/resolve/main/models/{MODEL}/encoder.safetensors" in hub.requests
    head = load_pretrained(ADDRESS, head="robust_linear")
    pixels = torch.rand(2, 3, 16, 16)
    assert theirs(pixels).shape == (2, 512)
    assert head(pixels).shape == (2, 10)
    torch.testing.assert_close(head.encoder(pixels), theirs(pixels))


def test_the_weights_are_the_same(hub):
    zoo.push_to_hub(MODEL, "me/digits")
    pixels = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(load_pretrained(ADDRESS)(pixels), load_pretrained(MODEL)(pixels))


def test_a_revision_is_loaded_and_others_are_refused(hub, pushed):
    hub.repositories["me/digits"]["v1"] = dict(pushed)
    hub.repositories["me/digits"]["main"] = {}
    assert load_pretrained(f"{ADDRESS}@v1").features_dim == 512
    with pytest.raises(UserError, match=r"index\.json of hf://me/digits: the repository has no"):
        load_pretrained(ADDRESS)
    with pytest.raises(UserError, match="there is no such revision"):
        load_pretrained(f"{ADDRESS}@v2")


def test_cached_files_serve_offline(hub, pushed, monkeypatch):
    load_pretrained(ADDRESS)
    monkeypatch.setenv("SOLO_ADV_OFFLINE", "1")
    asked = len(hub.requests)
    assert load_pretrained(ADDRESS).features_dim == 512
    assert len(hub.requests) == asked
    with pytest.raises(UserError, match="SOLO_ADV_OFFLINE forbids it"):
        load_pretrained("hf://me/other")


def test_other_contents_than_the_index_says_are_refused(hub, pushed):
    path = f"models/{MODEL}/encoder.safetensors"
    pushed[path] = pushed[path][:-1] + b"x"
    assert hashlib.sha256(pushed[path]).hexdigest() not in pushed["index.json"].decode()
    with pytest.raises(
        UserError, match=r"encoder\.safetensors of hf://me/digits has other contents"
    ):
        load_pretrained(ADDRESS)


def test_a_repository_of_another_kind_is_refused(hub):
    hub.repositories["timm/resnet"] = {"main": {"model.safetensors": b"1"}}
    with pytest.raises(UserError, match=r"has no such file.*networks of timm are called timm:NAME"):
        load_pretrained("hf://timm/resnet")
    with pytest.raises(UserError, match="there is no such repository, or it is private"):
        load_pretrained("hf://no/body")


def test_a_repository_of_several_models_is_a_zoo(hub, pushed, monkeypatch):
    index = json.loads(pushed["index.json"])
    other = {**index["models"][0], "name": "another_one"}
    pushed["index.json"] = json.dumps({**index, "models": [*index["models"], other]}).encode()
    with pytest.raises(UserError, match=r"holds 2 models .*another_one"):
        load_pretrained(ADDRESS)
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", ADDRESS)
    assert load_pretrained("another_one").features_dim == 512


@pytest.mark.parametrize("address", ["hf://me", "hf://me/it/there", "hf://", "hf://me/it@"])
def test_an_address_must_be_whole(address):
    with pytest.raises(UserError, match="write hf://OWNER/NAME"):
        client.repository_of(address)


def test_an_upload_that_is_refused(hub, monkeypatch):
    monkeypatch.setattr(hub, "repositories", {"me/digits": {}})  # it has no branch
    with pytest.raises(UserError, match="The hub refuses 'me/digits'"):
        zoo.push_to_hub(MODEL, "me/digits")
