"""Publishing refuses untrustworthy reports, and what it writes is complete and correct."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solo_adv import UserError, load_pretrained
from solo_adv.catalogue import download
from solo_adv.catalogue.index import parse, read_index
from solo_adv.encoders.checkpoint import read_checkpoint
from solo_adv.evaluation.evaluating import evaluate
from solo_adv.report.measurement import under_attack
from solo_adv.report.record import Report
from solo_adv.zoo import evaluate as remeasure
from solo_adv.zoo import extend, find, publish
from tests.published import NAME, QUICK, config


@pytest.fixture
def attempt(trained, tmp_path):
    """A function that publishes the run with changed reports and returns the zoo directory."""

    def run(change=None, *, name=NAME, checkpoint=None, reports=None, **more):
        copied = tmp_path / "results"
        shutil.copytree(trained.reports, copied, dirs_exist_ok=True)
        if change is not None:
            for file in copied.rglob("report.json"):
                held = json.loads(file.read_text())
                change(held, file)
                file.write_text(json.dumps(held))
        publish(
            checkpoint or trained.checkpoint.parent,
            name=name,
            summary="A tiny encoder that only the tests know.",
            zoo=tmp_path / "zoo",
            reports=[copied] if reports is None else reports,
            **more,
        )
        return tmp_path / "zoo"

    return run


def _alarmed(held, file):
    held["alarms"] = ["Zero gradients: PGD cannot move."]


def _of_other_weights(held, file):
    held["weights"]["encoder"] = "0" * 16


def _old(held, file):
    del held["weights"]


def _of_another_head(held, file):
    held["weights"]["head"] = "0" * 16


def _of_few_labels(held, file):
    held["data"]["labels"] = {"part": "1%", "seed": 0, "per_class": [1] * 10}


def _other_features(held, file):
    config = held["config"]
    config["features"] = "backbone" if config["linear"] == "robust" else "hidden"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_alarmed, "carries an alarm.*PGD cannot move"),
        (_of_other_weights, "is of other weights"),
        (_of_few_labels, "used 1% of the labels; published heads have all labels"),
        (_old, "does not say which weights"),
        (_of_another_head, "is not the head that"),
        (_other_features, "several features"),
        (lambda held, file: file.with_name("head.safetensors").unlink(), "Cannot read"),
        (lambda held, file: held.pop("data"), "is not a whole report"),
    ],
)
def test_a_report_that_cannot_be_trusted_is_refused(attempt, tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        attempt(change)
    assert not (tmp_path / "zoo").exists()


def test_without_report_nothing_is_published(attempt, tmp_path):
    (tmp_path / "empty").mkdir()
    for reports in ([], [tmp_path / "empty"], [tmp_path / "nothing"]):
        with pytest.raises(UserError, match=r"no evaluation report.*main_robust\.py"):
            attempt(reports=reports)
    assert not (tmp_path / "zoo").exists()


def test_a_run_that_ended_within_an_epoch_is_published(attempt, trained, tmp_path):
    ended = tmp_path / "run" / "cfamc-x-ep=0-batch=5.ckpt"
    ended.parent.mkdir()
    shutil.copy(trained.checkpoint, ended)
    args = json.loads((trained.checkpoint.parent / "args.json").read_text())
    (ended.parent / "args.json").write_text(json.dumps({**args, "ended": True}))
    attempt(checkpoint=ended)
    earlier = ended.with_name("cfamc-x-ep=0-batch=4.ckpt")
    shutil.copy(trained.checkpoint, earlier)
    with pytest.raises(UserError, match="not the end of its run"):
        attempt(checkpoint=earlier)


def test_an_unfinished_run_is_refused(attempt, trained, tmp_path):
    unfinished = tmp_path / "run" / "cfamc-x-ep=-1.ckpt"
    unfinished.parent.mkdir()
    shutil.copy(trained.checkpoint, unfinished)
    with pytest.raises(UserError, match="not the end of its run"):
        attempt(checkpoint=unfinished.parent)


@pytest.mark.parametrize("name", ["Cfamc", "cfamc-digits", "models/x", "a b", ""])
def test_names_are_checked(attempt, name):
    with pytest.raises(UserError, match="no name for a model"):
        attempt(name=name)


def test_the_entry_says_what_the_run_and_the_reports_say(published, trained):
    entry = published.entry
    assert (entry.method, entry.dataset, entry.classes) == ("cfamc", "digits", 10)
    assert entry.backbone["stem"] == "cifar"
    assert entry.feature_dims == {"backbone": 64, "hidden": 24, "projector": 8}
    assert entry.training["minutes"] == 0.1
    found = map(Report.read, trained.reports.rglob("report.json"))
    reports = {report.config["linear"]: report for report in found}
    assert len(entry.evaluations) == 2
    for evaluation in entry.evaluations:
        report = reports[evaluation.linear]
        assert list(evaluation.measurements) == [m.figure for m in report.measurements]
        assert evaluation.threat_model.startswith("white-box")
    text = (published.directory / "index.json").read_text()
    assert str(trained.root) not in text  # no paths of this machine
    assert read_index(published.directory / "index.json") == {NAME: entry}


def test_an_entry_with_an_attack_in_l2(attempt, trained, tmp_path, monkeypatch):
    cfg = config("robust", *QUICK, "norm=l2", "epsilons=[0.5]", f"results_dir={tmp_path / 'l2'}")
    cfg.checkpoint = str(trained.checkpoint)
    report, _ = evaluate(cfg, quiet=True)
    zoo = attempt(reports=[trained.reports, tmp_path / "l2"])
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(zoo))
    entry = find(NAME)
    assert {"linf", "l2"} == {
        attack.settings["norm"]
        for e in entry.evaluations
        for attack in under_attack(e.measurements)
    }
    (found,) = (e for e in entry.evaluations if "L2" in e.threat_model)
    (attack,) = under_attack(found.measurements)
    assert (attack.label, attack.figure) == ("PGD-3 at 0.5 (L2)", report.attacks[0].figure)
    card = (zoo / "models" / NAME / "README.md").read_text()
    assert "L-infinity" in card
    assert found.threat_model in card
    assert "| PGD-3 at 0.5 (L2) |" in card
    repeated = remeasure(entry, quiet=True)
    assert all(comparison.holds for comparison in repeated)
    assert "PGD-3 at 0.5 (L2)" in {comparison.figure for comparison in repeated}


def test_a_model_of_the_same_name_is_replaced_and_others_stay(attempt, published):
    zoo = attempt()
    attempt(name="another")
    attempt()
    assert sorted(read_index(zoo / "index.json")) == ["another", NAME]


@pytest.fixture
def extended(attempt, tmp_path, monkeypatch, capsys):
    """A function that judges a published model by its name and adds the report to its zoo."""
    zoo = attempt()
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(zoo))

    def run(*overrides, head="linear", name=NAME):
        linear = {"linear": "standard", "robust_linear": "robust"}[head]
        results = tmp_path / f"more{len(list(tmp_path.iterdir()))}"
        given = f"head_weights={zoo / 'models' / NAME / head}.safetensors"
        cfg = config(
            "robust", *QUICK, f"linear={linear}", given, f"results_dir={results}", *overrides
        )
        cfg.checkpoint = name
        evaluate(cfg, quiet=True)
        capsys.readouterr()
        return extend(name, zoo=zoo, reports=[results]), capsys.readouterr().err

    return run


def test_a_report_is_added_to_a_model_without_its_run(extended, tmp_path):
    before = find(NAME)
    entry, told = extended("steps=4", head="robust_linear")
    assert told == ""
    assert entry == read_index(tmp_path / "zoo" / "index.json")[NAME]
    assert [e.linear for e in entry.evaluations] == ["standard", "robust", "robust"]
    assert [e for e in entry.evaluations if e in before.evaluations] == before.evaluations
    file = tmp_path / "zoo" / entry.evaluations[-1].report.path
    assert file.name == "report_robust_linear2.json"
    assert str(tmp_path) not in file.read_text()
    assert "PGD-4 at 2/255" in (file.parent / "README.md").read_text()
    assert entry.files == before.files
    assert all(comparison.holds for comparison in remeasure(entry, quiet=True))


def test_a_report_of_more_images_takes_the_place_of_one_of_fewer(extended, tmp_path):
    before = find(NAME)
    entry, told = extended("max_images=70")
    assert told == f"Replaced: models/{NAME}/report_linear.json\n"
    assert [e.measurements[0].total for e in entry.evaluations] == [70, 60]
    assert entry.evaluations[0].report.path == before.evaluations[0].report.path
    entry, told = extended("max_images=40")  # adds to it
    assert told == ""
    assert [e.measurements[0].total for e in entry.evaluations] == [70, 40, 60]
    entry, told = extended("max_images=80", "epsilons=[2/255,4/255,8/255]")  # replaces both
    assert told.count("Replaced") == 2
    names = [Path(e.report.path).name for e in entry.evaluations]
    assert names == ["report_linear.json", "report_robust_linear.json"]
    assert sorted(file.name for file in (tmp_path / "zoo").rglob("report*.json")) == names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_alarmed, "carries an alarm"),
        (_of_other_weights, "is of other weights"),
        (_of_another_head, "of another (robust_)?linear head than an earlier report"),
        (lambda held, file: held["data"].update(classes=3), "is of 3 classes; cfamc.* has 10"),
        (lambda held, file: held["config"].update(features="backbone"), "has hidden"),
    ],
)
def test_a_report_that_does_not_fit_the_model_is_not_added(
    attempt, trained, tmp_path, change, words
):
    zoo = attempt()
    index = (zoo / "index.json").read_bytes()
    shutil.copytree(trained.reports, tmp_path / "changed")
    for file in (tmp_path / "changed").rglob("report.json"):
        held = json.loads(file.read_text())
        change(held, file)
        file.write_text(json.dumps(held))
    with pytest.raises(UserError, match=words):
        extend(NAME, zoo=zoo, reports=[tmp_path / "changed"])
    with pytest.raises(UserError, match=r"no evaluation report.*checkpoint=" + NAME):
        extend(NAME, zoo=zoo, reports=[])
    with pytest.raises(UserError, match="Unknown model of"):
        extend("nobody", zoo=zoo, reports=[trained.reports])
    (zoo / "models" / NAME / "encoder.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"encoder\.safetensors is damaged"):
        extend(NAME, zoo=zoo, reports=[trained.reports])
    assert (zoo / "index.json").read_bytes() == index


def test_a_head_that_was_missing_is_added(attempt, trained, tmp_path):
    standard = [
        file for file in trained.reports.rglob("report.json") if _linear(file) == "standard"
    ]
    zoo = attempt(reports=standard)
    assert read_index(zoo / "index.json")[NAME].heads == ["linear"]
    entry = extend(NAME, zoo=zoo, reports=[trained.reports], part_bytes=100)
    assert entry.heads == ["linear", "robust_linear"]
    assert entry.files["robust_linear"].parts
    assert [e.linear for e in entry.evaluations] == ["standard", "robust"]


def test_a_robust_head_of_another_radius_has_a_name_of_its_own(
    extended, attempt, trained, tmp_path
):
    before = find(NAME)
    entry, told = extended("train_epsilon=1/255", "head_weights=null", head="robust_linear")
    assert told == ""
    assert entry.heads == ["linear", "robust_linear", "robust_linear_eps1"]
    assert entry.files["robust_linear"] == before.files["robust_linear"]
    given = tmp_path / "zoo" / entry.files["robust_linear_eps1"].path
    # A report of that head does not repeat how it was trained, and replaces only its own.
    entry, told = extended("max_images=70", f"head_weights={given}", head="robust_linear")
    assert told == f"Replaced: models/{NAME}/report_robust_linear_eps1.json\n"
    assert [e.head for e in entry.evaluations] == entry.heads
    assert [e.measurements[0].total for e in entry.evaluations] == [60, 60, 70]
    index = json.loads((tmp_path / "zoo" / "index.json").read_text())
    held = index["models"][0]["evaluations"]
    assert [e.get("head") for e in held] == [None, None, "robust_linear_eps1"]

    comparisons = remeasure(entry, quiet=True)
    assert {comparison.head for comparison in comparisons} == set(entry.heads)
    assert all(comparison.holds for comparison in comparisons)
    mild, usual = (load_pretrained(NAME, head=head) for head in entry.heads[:0:-1])
    assert not torch.equal(mild.head.weight, usual.head.weight)
    with_trained = sorted(tmp_path.glob("more*"), reverse=True)
    assert [len(list(d.rglob("*given-head*"))) for d in with_trained] == [1, 0]
    again = attempt(reports=[*with_trained, trained.reports], name="again")
    heads = [e.head for e in read_index(again / "index.json")["again"].evaluations]
    assert heads == ["linear", "robust_linear", *2 * ["robust_linear_eps1"]]
    with pytest.raises(UserError, match="it has linear, robust_linear, robust_linear_eps1"):
        load_pretrained(NAME, head="robust_linear_eps2")


def _linear(file):
    return json.loads(file.read_text())["config"]["linear"]


def test_the_card_and_the_reports_lie_beside_the_weights(published):
    folder = published.directory / "models" / NAME
    names = {path.name for path in folder.iterdir()}
    assert names >= {"README.md", "report_linear.json", "report_linear.md", "report_linear.png"}
    assert "(report_linear.png)" in (folder / "report_linear.md").read_text()
    card = (folder / "README.md").read_text()
    assert "Threat model: white-box" in card
    assert "| linear |" in card


def test_pictures_are_published_in_256_colours_that_are_near_the_original(published, trained):
    for file in (published.directory / "models" / NAME).glob("*.png"):
        picture = Image.open(file)
        assert picture.mode == "P"
        originals = [path for path in trained.reports.rglob("*.png") if path.is_file()]
        pixels = [np.asarray(Image.open(path).convert("RGB"), float) for path in originals]
        shown = np.asarray(picture.convert("RGB"), float)
        nearest = min(np.abs(shown - p).mean() for p in pixels if p.shape == shown.shape)
        assert nearest < 3  # of 255
        assert file.stat().st_size < 0.5 * min(path.stat().st_size for path in originals)


def test_reports_are_published_without_the_folders_of_the_machine(attempt, trained):
    runs = trained.checkpoint.parents[2]
    assert runs.is_absolute()
    folder = attempt() / "models" / NAME
    for file in [*folder.glob("*.json"), *folder.glob("*.md")]:
        assert str(runs) not in file.read_text(), file
    published = Report.read(folder / "report_linear.json")
    assert published.checkpoint == trained.checkpoint.relative_to(runs).as_posix()
    assert f"`{published.checkpoint}`" in (folder / "report_linear.md").read_text()


@pytest.mark.parametrize("inside", [True, False])
def test_the_teacher_is_told_without_the_folders_of_the_machine(attempt, trained, tmp_path, inside):
    runs = tmp_path / "runs"
    copy = runs / "deacl" / "v1" / trained.checkpoint.name
    copy.parent.mkdir(parents=True)
    teacher = (runs if inside else Path("/elsewhere")) / "emp_ssl" / "v2" / "e.ckpt"
    held = read_checkpoint(trained.checkpoint)
    held["solo_adv"]["config"]["teacher"] = {"kind": "network", "checkpoint": str(teacher)}
    torch.save(held, copy)
    zoo = attempt(checkpoint=copy)
    told = "emp_ssl/v2/e.ckpt" if inside else "e.ckpt"
    entry = read_index(zoo / "index.json")[NAME]
    assert entry.training["config"]["teacher"]["checkpoint"] == told
    card = (zoo / "models" / NAME / "README.md").read_text()
    assert f"crop passes and those of its teacher `{told}`" in card


def test_large_files_are_split_and_load_all_the_same(attempt, trained, monkeypatch):
    zoo = attempt(part_bytes=3000)
    entry = read_index(zoo / "index.json")[NAME]
    parts = entry.files["encoder"].parts
    assert len(parts) > 2
    assert all((zoo / part.path).stat().st_size == part.size <= 3000 for part in parts)
    assert not (zoo / entry.files["encoder"].path).exists()
    monkeypatch.setenv("SOLO_ADV_ZOO_URL", str(zoo))
    encoder, original = load_pretrained(NAME), load_pretrained(trained.checkpoint)
    for name, value in original.state_dict().items():
        assert value.equal(encoder.state_dict()[name])
    assert download.cached_path(entry.files["encoder"]).exists()


def _set(**changes):
    return lambda model: model["evaluations"][0]["measurements"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda model: model.update(licence=1), "licence"),
        (lambda model: model.update(surprise=1), "surprise"),
        (lambda model: model["files"]["encoder"].update(path="../../etc/passwd"), "encoder/path"),
        (lambda model: model["files"]["encoder"].update(path="models/../x"), "encoder/path"),
        (lambda model: model["files"]["encoder"].update(sha256="abc"), "sha256"),
        (_set(correct=-1), "evaluations/0/measurements/0/correct"),
        (_set(correct=10_000), "10000 of 60 images is no accuracy"),
        (_set(accuracy=0.5), "evaluations/0/measurements/0.*accuracy"),
        (_set(settings={"epsilon": 0}), "evaluations/0/measurements/0/settings/epsilon"),
        (lambda model: model["evaluations"][0].update(clean=0.5), "evaluations/0.*clean"),
        (lambda model: model.update(image_size=64), "image_size = 64.*16"),
        (lambda model: model["training"]["config"].update(method="simclr"), "method = cfamc"),
    ],
)
def test_an_index_that_is_wrong_is_refused(published, tmp_path, change, words):
    held = json.loads((published.directory / "index.json").read_text())
    change(held["models"][0])
    file = tmp_path / "index.json"
    file.write_text(json.dumps(held))
    with pytest.raises(UserError, match=words):
        read_index(file)


def test_an_index_that_is_no_index(tmp_path):
    with pytest.raises(UserError, match="not JSON"):
        parse("{", "here")
    with pytest.raises(UserError, match="newer"):
        parse('{"format": 3, "base_urls": [], "models": []}', "here")
    with pytest.raises(UserError, match="Cannot read"):
        read_index(tmp_path / "index.json")


def test_an_index_of_the_first_format_is_read_checked_and_added_to(attempt, published, tmp_path):
    packaged = json.loads(Path(__file__).with_name("index_format_1.json").read_text())
    assert packaged["format"] == 1
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    (zoo / "index.json").write_text(json.dumps(packaged))
    attempt()
    held = json.loads((zoo / "index.json").read_text())
    assert held["format"] == 2
    assert all(model in held["models"] for model in packaged["models"])
    found = read_index(zoo / "index.json")
    old = packaged["models"][0]
    entry = found[old["name"]]
    for evaluation, was in zip(entry.evaluations, old["evaluations"], strict=True):
        assert {m.label: m.accuracy for m in evaluation.measurements} == {
            "kNN": was["knn"],
            "clean": was["clean"],
            **{f"{a['name']} at {a['epsilon_text']}": a["accuracy"] for a in was["attacks"]},
        }
    # In today's format the entry says the same.
    assert type(entry).from_dict(json.loads(json.dumps(entry.to_dict()))) == entry
    packaged["models"][0]["evaluations"][0]["clean"] = 51.2
    with pytest.raises(UserError, match="evaluations/0/clean"):
        parse(json.dumps(packaged), "here")


def test_an_entry_survives_the_index(published):
    entry = published.entry
    assert type(entry).from_dict(json.loads(json.dumps(entry.to_dict()))) == entry
    assert replace(entry, base_urls=("http://a",)) == entry
    assert Path(entry.files["encoder"].path).parts[:2] == ("models", NAME)
