"""A compact copy of a run is judged and published in its place."""

import json

import pytest
import torch

from solo_adv import UserError, load_pretrained
from solo_adv.encoders.loading import encoder_from
from solo_adv.evaluation.evaluating import evaluate
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.zoo import compact, extend, publish
from solo_adv.zoo.compacting import rounded, smallest
from tests.published import QUICK, config


def test_matrices_are_rounded_to_the_nearest_eight_digits_and_vectors_kept():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(200, 30, generator=generator)
    there = rounded(matrix)
    assert there.dtype == torch.float32
    mantissa, exponent = torch.frexp(matrix.double())
    nearest = torch.ldexp((mantissa * 256).round() / 256, exponent)  # bfloat16 has eight digits
    assert torch.equal(there.double(), nearest)
    assert torch.equal(rounded(matrix[0]), matrix[0])
    numbers = torch.arange(6).reshape(2, 3)
    assert rounded(numbers) is numbers


def test_only_what_bfloat16_holds_exactly_is_stored_as_such():
    matrix = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    assert smallest(rounded(matrix)).dtype == torch.bfloat16
    assert torch.equal(smallest(rounded(matrix)).float(), rounded(matrix))
    for kept in (matrix, rounded(matrix)[0], matrix.double(), torch.arange(6).reshape(2, 3)):
        assert smallest(kept) is kept


@pytest.mark.parametrize("with_projector", [True, False])
def test_a_copy_has_the_rounded_weights_of_the_run(trained, tmp_path, with_projector):
    copy = compact(trained.checkpoint.parent, tmp_path / "small", with_projector=with_projector)
    assert copy.parts[-3:] == trained.checkpoint.parts[-3:]
    run, there = encoder_from(trained.checkpoint), encoder_from(copy)
    expected = {
        name: rounded(tensor)
        for name, tensor in run.state_dict().items()
        if with_projector or not name.startswith("projector.")
    }
    assert weights_fingerprint(there.state_dict()) == weights_fingerprint(expected)
    assert there.crop_passes == run.crop_passes
    assert there.features == ("hidden" if with_projector else "backbone")
    assert copy.stat().st_size < 0.6 * trained.checkpoint.stat().st_size
    assert json.loads((copy.parent / "args.json").read_text())["method"] == "cfamc"
    if not with_projector:
        with pytest.raises(UserError, match="use features=backbone"):
            encoder_from(copy, features="hidden")
    with pytest.raises(UserError, match="exists already"):
        compact(trained.checkpoint, tmp_path / "small")


def test_an_unfinished_run_is_refused(trained, tmp_path):
    unfinished = tmp_path / "cfamc" / "x" / "cfamc-x-ep=-1.ckpt"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(trained.checkpoint.read_bytes())
    with pytest.raises(UserError, match="let the run finish first"):
        compact(unfinished, tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_what_is_no_run_of_solo_adv_is_refused(tmp_path):
    torch.save({"state_dict": {"backbone.weight": torch.ones(2, 2)}}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="no checkpoint of a run of solo-adv"):
        compact(tmp_path / "x.ckpt", tmp_path / "small")


def test_it_is_published_in_about_half_the_bytes_and_extended(trained, tmp_path, monkeypatch):
    copy = compact(trained.checkpoint, tmp_path / "small", with_projector=False)
    report = {}
    for linear in ("standard", "robust"):
        cfg = config("robust", *QUICK, f"linear={linear}", f"results_dir={tmp_path / linear}")
        cfg.checkpoint = str(copy)
        report[linear] = evaluate(cfg, quiet=True)
    entry = publish(
        copy,
        name="small",
        summary="A tiny encoder that only the tests know.",
        zoo=tmp_path / "zoo",
        reports=[tmp_path / "standard"],
    )
    assert entry.feature_dims == {"backbone": 64}
    numbers = sum(tensor.numel() for tensor in encoder_from(copy).state_dict().values())
    assert entry.files["encoder"].size < 2.7 * numbers
    assert set(extend("small", zoo=tmp_path / "zoo", reports=[tmp_path / "robust"]).heads) == {
        *("linear", "robust_linear")
    }
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(tmp_path / "zoo"))
    loaded = load_pretrained("small")
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(loaded(images), encoder_from(copy)(images))
    assert all(tensor.dtype != torch.bfloat16 for tensor in loaded.state_dict().values())
