"""The packaged models are complete, described correctly, and as accurate as published."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import solo_adv
from solo_adv import UserError, load_pretrained
from solo_adv.catalogue import download, places
from solo_adv.catalogue.index import packaged
from solo_adv.report.measurement import AUTOATTACK, TOP5, under_attack
from solo_adv.report.record import Report
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.support.hashes import sha256_of_file
from solo_adv.zoo import evaluate, find, remeasuring, table
from tests.published import NAME

ROOT = Path(__file__).parents[2]
NAMES = sorted(packaged())


def test_there_are_digits_and_cifar10():
    assert {find(name).dataset for name in solo_adv.zoo.list()} >= {"digits", "cifar10"}


def test_the_table_is_up_to_date():
    written = (ROOT / "zoo" / "README.md").read_text()
    assert written == table.markdown(packaged().values()), (
        "python -m solo_adv.zoo list --markdown > zoo/README.md"
    )


def test_nothing_large_or_foreign_is_packaged():
    files = [path for path in (places.PACKAGED / "models").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md", ".png", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 16e6
    assert {path.parent.name for path in files} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_loads_without_net(name, monkeypatch):
    monkeypatch.setenv("SOLO_ADV_OFFLINE", "1")
    entry = find(name)
    encoder = load_pretrained(name)
    pixels = torch.rand(2, 3, entry.image_size, entry.image_size)
    assert encoder(pixels).shape == (2, entry.feature_dims[entry.features])
    assert {"linear", "robust_linear"} <= set(entry.heads)
    for head in entry.heads:
        assert load_pretrained(name, head=head)(pixels).shape == (2, entry.classes)


@pytest.mark.parametrize("name", NAMES)
def test_reports_are_of_these_weights_without_alarm_and_with_these_figures(name):
    entry = find(name)
    encoder = load_pretrained(name)
    for evaluation in entry.evaluations:
        report = Report.read(download.locate(evaluation.report))
        head = load_pretrained(name, head=evaluation.head).head
        assert report.alarms == []
        assert report.weights["encoder"] == weights_fingerprint(encoder.state_dict())
        assert report.weights["head"] == weights_fingerprint(head.state_dict())
        published = [m.figure for m in report.measurements if m.label != TOP5]
        indexed = [m for m in evaluation.measurements if m.label != TOP5]  # old entries lack it
        assert [replace(m, settings={}) for m in indexed] == [
            replace(m, settings={}) for m in published
        ]
        assert under_attack(evaluation.measurements) == under_attack(published)


def attacks_on(name):
    return {
        (evaluation.head, attack.name, attack.radius)
        for evaluation in find(name).evaluations
        for attack in under_attack(evaluation.measurements)
    }


RADII = ("4/255", "8/255", "16/255")


@pytest.mark.parametrize("name", NAMES)
def test_pgd_at_three_radii_and_autoattack_at_8_255_are_published_for_all_heads(name):
    found, heads = attacks_on(name), find(name).heads
    pgd = {(head, "PGD-20", radius) for head in heads for radius in RADII}
    judged = RADII if ("linear", "AutoAttack", "4/255") in found else ("8/255",)
    assert found == pgd | {(head, "AutoAttack", r) for head in heads for r in judged}


@pytest.mark.slow
def test_the_figures_of_digits_hold():
    name = solo_adv.zoo.list(dataset="digits")[0]
    comparisons = evaluate(find(name), max_images=60, autoattack=False, quiet=True)
    assert {c.head for c in comparisons} == {"linear", "robust_linear"}
    assert {c.figure for c in comparisons} >= {"clean", "kNN", "PGD-20 at 8/255"}
    assert all(c.holds for c in comparisons)


def test_without_autoattack_each_head_is_judged_once_and_the_rest_is_said(monkeypatch, capsys):
    entry = find("cfamc_best_resnet18w16_cifar10")
    alone = [[0.0, 0.0], [0.0, 0.0]]  # seconds of the reports without and with AutoAttack
    for evaluation in entry.evaluations:
        report = Report.read(download.locate(evaluation.report))
        attacked = AUTOATTACK in {m.name for m in report.measurements}
        fixed = report.seconds["features"] + report.seconds["probes"]
        heads = sum(s for stage, s in report.seconds.items() if stage.endswith(" head"))
        alone[attacked][0] += fixed
        alone[attacked][1] += report.seconds["total"] - fixed - heads
    seconds, attacks = remeasuring.expected_seconds(entry, max_images=1000, autoattack=False)
    assert attacks == 0
    assert seconds == pytest.approx(alone[0][0] + alone[0][1] / 10)
    seconds, attacks = remeasuring.expected_seconds(entry, max_images=1000)
    assert 0 < attacks < seconds
    assert seconds == pytest.approx(alone[0][0] + alone[0][1] / 10 + sum(alone[1]))

    judged = []
    monkeypatch.setattr(remeasuring, "load_labelled", lambda *_, **__: [_TestSet(entry)] * 2)
    monkeypatch.setattr(remeasuring, "_compared", lambda *_: [])
    monkeypatch.setattr(
        *(remeasuring, "evaluate_robustness"),
        lambda *given, **_: judged.append(given[3]) or SimpleNamespace(report=None),
    )
    evaluate(entry, autoattack=False)
    assert [(s.linear, s.autoattack, len(s.epsilons)) for s in judged] == [
        ("standard", False, 3),
        ("robust", False, 3),
    ]
    told = capsys.readouterr().err
    for evaluation in entry.evaluations:
        if AUTOATTACK in {m.name for m in evaluation.measurements}:
            reason = "another report has all of its figures but AutoAttack"
            assert f"{Path(evaluation.report.path).name} ({reason})" in " ".join(told.split())
    evaluate(entry)
    assert "Not repeated" not in capsys.readouterr().err
    assert [s.autoattack for s in judged[2:]] == [False, False, True, True]


class _TestSet:
    """Images that are as good as those of the published reports."""

    name = "cifar10"

    def __init__(self, entry):
        self.fingerprint = lambda: entry.evaluations[0].test_data


def test_figures_that_do_not_hold_are_found(published, tmp_path, monkeypatch):
    shutil.copytree(published.directory, tmp_path / "zoo")
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(tmp_path / "zoo"))
    index = tmp_path / "zoo" / "index.json"
    held = json.loads(index.read_text())
    first = published.entry.evaluations[0]
    file = held["models"][0]["evaluations"][0]["report"]
    path = tmp_path / "zoo" / file["path"]
    report = json.loads(path.read_text())
    clean = next(m for m in report["measurements"] if m["name"] == "clean")
    clean["correct"] = clean["total"] - clean["correct"] // 2
    path.write_text(json.dumps(report))
    file["size"], file["sha256"] = path.stat().st_size, sha256_of_file(path)
    index.write_text(json.dumps(held))
    failed = [c for c in evaluate(find(NAME), quiet=True) if not c.holds]
    assert [(c.head, c.figure) for c in failed] == [(first.head, "clean")]


def test_other_test_data_are_refused(zoo):
    with pytest.raises(UserError, match="is not the test set"):
        evaluate(find(NAME), data={"image_size": 20}, quiet=True)


def test_the_readmes_lines_that_load_a_model_work():
    text = (ROOT / "README.md").read_text()
    block = next(b for b in text.split("```python")[1:] if "robust_linear" in b).split("```")[0]
    names: dict = {}
    exec(block, names)
    assert names["logits"].shape == (8, 10)
