"""Result directories: no evaluation overwrites another's, and each finds its own again."""

import shutil

import pytest
import torch
from PIL import Image

from solo_adv.evaluation import evaluating
from solo_adv.evaluation.attacks import autoattack
from solo_adv.evaluation.evaluating import evaluate
from solo_adv.report.record import Report
from solo_adv.support.configs import composed
from solo_adv.support.errors import UserError
from solo_adv.training.pretraining import pretrain

TINY = [
    *("data=digits", "data.fraction=0.2", "max_epochs=2", "checkpoint.keep_prev=true"),
    *("crops.num_crops=2", "optimizer.batch_size=64", "backbone.kwargs.width=4"),
    *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"),
    *("knn_eval.enabled=false", "auto_resume.enabled=false", "accelerator=cpu"),
]
QUICK = [
    *("max_images=20", "steps=2", "epsilons=[8/255]", "alarm_images=0", "head.epochs=1"),
    *("head.min_updates=2", "train_steps=1", "accelerator=cpu"),
]


def config(name, *overrides):
    return composed(name, overrides)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The last checkpoint of a run of two epochs; the first one lies beside it."""
    directory = tmp_path_factory.mktemp("run") / "trained_models"
    return pretrain(config("cfamc", *TINY, f"checkpoint.dir={directory}"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of ten classes in folders, train and test."""
    root = tmp_path_factory.mktemp("folder")
    generator = torch.Generator().manual_seed(0)
    for split, label, number in (
        (s, c, n) for s in ("train", "val") for c in range(10) for n in "ab"
    ):
        path = root / split / f"class{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(256, (16, 16, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(path)
    return root


@pytest.fixture
def asked(checkpoint, tmp_path):
    """A function that makes the config of an evaluation of the checkpoint."""

    def make(*overrides, path=checkpoint):
        cfg = config("robust", *QUICK, f"results_dir={tmp_path / 'results'}", *overrides)
        cfg.checkpoint = str(path)
        return cfg

    return make


@pytest.fixture
def place(asked):
    """A function from overrides to the directory of the result."""
    return lambda *overrides, **more: evaluating._asked(asked(*overrides, **more)).directory


OTHERS = {
    "label fraction": ["data.fraction=0.1"],
    "few labels": ["data.labels=20%"],
    "other few labels": ["data.labels=20%", "data.labels_seed=1"],
    "labels of each class": ["data.labels=5_per_class"],
    "image size": ["data.image_size=20"],
    "epsilons": ["epsilons=[4/255,8/255]"],
    "steps": ["steps=3"],
    "restarts": ["restarts=2"],
    "AutoAttack": ["autoattack=true"],
    "number of images": ["max_images=30"],
    "all images": ["max_images=null"],
    "seed": ["seed=6"],
    "head": ["linear=robust"],
    "features": ["features=backbone"],
    "crops": ["protocol=crops", "num_crops=2"],
    "crops of the image": ["protocol=crops", "num_crops=2", "space=image"],
    "fine-tuning": ["finetune=adversarial"],
    "recipe of the head": ["head.lr=0.1"],
    "precision": ["precision=bf16-mixed"],
}
SAME = {
    "batch size": ["batch_size=7"],
    "compilation": ["compile=true"],
    "workers": ["data.num_workers=2"],
    "images in memory": ["data.resident=true"],
    "images that stay on disk": ["data.resident=false"],
    "a limit on images in memory": ["data.max_resident_gib=0"],
    "no download": ["data.download=false"],
    "automatic device": ["accelerator=auto"],
    "the default spelt out": ["linear=standard", "epsilons=8/255"],
    "crops that nobody asks for": ["num_crops=3"],
}


@pytest.mark.slow
def test_each_difference_has_a_directory_of_its_own(place, checkpoint, folder):
    first = checkpoint.with_name(checkpoint.name.replace("ep=1", "ep=0"))
    assert first.exists()
    paths = [f"data.train_path={folder / 'train'}", f"data.val_path={folder / 'val'}"]
    places = {
        "": place(),
        "data set": place("data.dataset=custom", *paths),
        "epoch": place(path=first),
        **{case: place(*overrides) for case, overrides in OTHERS.items()},
    }
    assert len(set(places.values())) == len(places)
    assert {directory.parent for directory in places.values()} == {places[""].parent}
    assert places[""].parent.parts[-2:] == ("cfamc", checkpoint.parent.name)
    for case, words in {
        "": "ep1-digits-fraction0.2-central-standard-hidden-eps8-steps2-images20-",
        "data set": "ep1-custom-central-",
        "epoch": "ep0-digits-",
        "label fraction": "-fraction0.1-",
        "few labels": "-fraction0.2-labels20percent-central-",
        "other few labels": "-labels20percent-labels-seed1-central-",
        "labels of each class": "-labels5_per_class-central-",
        "epsilons": "-eps4-8-",
        "steps": "-steps3-",
        "restarts": "-restarts2-",
        "AutoAttack": "-autoattack-",
        "number of images": "-images30-",
        "seed": "-seed6-",
        "head": "-robust-hidden-",
    }.items():
        assert words in places[case].name


@pytest.mark.parametrize("case", SAME)
def test_what_does_not_change_the_result_has_the_same_directory(place, case):
    assert place(*SAME[case]) == place()


def test_images_in_files_have_the_same_directory_wherever_they_are_held(place, folder):
    paths = [f"data.train_path={folder / 'train'}", f"data.val_path={folder / 'val'}"]
    of = ["data.dataset=custom", "data.image_size=8", *paths]
    assert place(*of, "data.resident=true") == place(*of, "data.resident=false")


def test_a_checkpoint_is_known_by_its_weights(place, checkpoint, tmp_path):
    copied = tmp_path / "elsewhere" / checkpoint.parent.name / checkpoint.name
    shutil.copytree(checkpoint.parent, copied.parent)
    assert place(path=copied) == place() == place(path=checkpoint.parent)
    held = torch.load(copied, weights_only=True)
    held["state_dict"]["backbone.bn1.bias"] += 1
    torch.save(held, copied)
    copied.with_name(f"{copied.name}.sha256").unlink()
    assert place(path=copied) != place()


def test_the_same_command_shows_its_result_and_computes_nothing(asked, monkeypatch, capsys):
    report, files = evaluate(asked())
    assert set(files) == {"head", "html", "png", "md", "json"}
    assert "Evaluating" in capsys.readouterr().out
    assert not (files["json"].parent / "progress").exists()
    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "evaluate_robustness", lambda *_, **__: pytest.fail("again"))
        found, again = evaluate(asked("batch_size=7"))
    assert (found.measurements, again) == (report.measurements, files)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"Measured before: {files['json'].parent}")
    assert "again=true" in line
    assert Report.read(files["json"]).date == report.date


def test_the_report_knows_what_was_given(asked):
    report, files = evaluate(asked("data.labels=20%", "data.num_workers=0"))
    assert report.given == {"data.labels": "20%", "data.num_workers": 0}
    given = {"head_weights": str(files["head"])}
    with_head = evaluating._asked(asked(f"head_weights='{files['head']}'"))
    assert with_head.given == given


def test_other_code_is_said(asked, monkeypatch, capsys):
    evaluate(asked(), quiet=True)
    monkeypatch.setattr("solo_adv.support.environment.git_commit", lambda: "another")
    evaluate(asked())
    assert "other versions than today's: commit " in capsys.readouterr().out


def test_it_is_measured_anew_if_asked(asked, capsys):
    _, files = evaluate(asked(), quiet=True)
    files["json"].write_text("{")
    with pytest.raises(UserError, match="again=true to measure again"):
        evaluate(asked())
    _, again = evaluate(asked("again=true"))
    assert "Evaluating" in capsys.readouterr().out
    assert again == files
    assert Report.read(files["json"]).num_images == 20
    with pytest.raises(UserError, match="again must be true or false"):
        evaluate(asked("again=3"))


@pytest.mark.parametrize(
    "training",
    [
        ["head.optimizer=lbfgs"],
        ["linear=robust"],
        ["finetune=adversarial", "finetune_recipe.epochs=1"],
        ["finetune=adversarial", "finetune_recipe.epochs=1", "finetune_recipe.loss=trades"],
    ],
    ids=" ".join,
)
def test_few_labels_train_every_kind_of_classifier(asked, training):
    few = ["data.labels=3_per_class", "data.labels_seed=2", *training]
    report, files = evaluate(asked(*few), quiet=True)
    assert report.data["train_images"] == 30
    assert report.data["labels"] == {"part": "3_per_class", "seed": 2, "per_class": [3] * 10}
    text = files["md"].read_text()
    assert "on digits, 3 labels a class (seed 2):" in text
    assert (
        "30 train images (3_per_class of the labels: 3 of each of 10 classes, drawn with "
        "labels_seed=2)" in text
    )


def test_few_labels_that_leave_a_class_empty_are_refused(asked):
    with pytest.raises(UserError, match=r"data\.labels=1% leaves no image of class"):
        evaluate(asked("data.labels=1%"), quiet=True)


def test_an_evaluation_that_was_killed_continues(asked, place, monkeypatch):
    make, attack, calls = autoattack._ensemble, autoattack._attack, []

    def shorter(*arguments):
        ensemble = make(*arguments)
        ensemble.square.n_queries = 5
        for part in (ensemble.apgd, ensemble.apgd_targeted, ensemble.fab):
            part.n_iter = 3
        return ensemble

    def counted(*arguments):
        calls.append(arguments[1])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return attack(*arguments)

    monkeypatch.setattr(autoattack, "_ensemble", shorter)
    monkeypatch.setattr(autoattack, "_attack", counted)
    cfg = asked("autoattack=true", "batch_size=16", "epsilons=[1/255]", "max_images=null")
    with pytest.raises(KeyboardInterrupt):
        evaluate(cfg, quiet=True)
    (directory,) = place().parent.iterdir()
    assert sorted(path.suffix for path in (directory / "progress").iterdir()) == [".json", ".pt"]
    monkeypatch.setattr(
        "solo_adv.evaluation.subject.train_head_on_features", lambda *_, **__: pytest.fail("twice")
    )
    report, files = evaluate(cfg, quiet=True)
    continued = len(calls) - 3
    assert files["json"].parent == directory
    assert not (directory / "progress").exists()
    monkeypatch.undo()
    monkeypatch.setattr(autoattack, "_ensemble", shorter)
    monkeypatch.setattr(autoattack, "_attack", counted)
    calls[:] = [None] * 3
    cfg.again = True
    whole, _ = evaluate(cfg, quiet=True)
    assert len(calls) - 3 == continued + 2
    assert [m.figure for m in whole.measurements] == [m.figure for m in report.measurements]


def test_a_place_that_cannot_be_written_is_found_before_the_evaluation(
    asked, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluating, "evaluate_robustness", None)
    (tmp_path / "results").touch()
    with pytest.raises(UserError, match=r"Cannot write the report into .*results_dir=DIR"):
        evaluate(asked(), quiet=True)
