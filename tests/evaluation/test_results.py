"""Names of result directories: they differ between measurements, and a repetition finds its own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from solo_adv.data import DataConfig
from solo_adv.evaluation import FinetuneRecipe, HeadRecipe, RobustSettings
from solo_adv.evaluation.results import (
    directory_name,
    find_report,
    fingerprint_of,
    other_code,
    result_fingerprint,
)
from solo_adv.report.writing import write_report
from solo_adv.support import environment
from solo_adv.support.errors import UserError
from tests.report.reports import make_report

SETTINGS = RobustSettings()
CHECKPOINT = Path("trained_models/cfamc/offline-12/cfamc-digits-offline-12-ep=9.ckpt")
DATA = {"fingerprint_train": "a", "fingerprint_test": "b"}
WEIGHTS = {"encoder": "c", "head": None, "head_given": False}
TRAINED = {"crops": {"size": 32}, "views": (1, 2), "limit": float("inf")}


def fingerprint(settings=SETTINGS, *, trained=TRAINED, data=DATA, weights=WEIGHTS):
    return result_fingerprint(settings.to_config(), trained, data, weights)


def name(settings=SETTINGS, checkpoint=CHECKPOINT, **changes):
    data = {
        key: changes.pop(key) for key in ("fraction", "labels", "labels_seed") if key in changes
    }
    given = {"dataset": "digits", "head_given": False, "measured": "0" * 16}
    given["data"] = DataConfig(dataset="digits", **data)
    return directory_name(checkpoint, settings, **{**given, **changes})


CHANGES = {
    "norm": "l2",
    "protocol": "crops", "linear": "robust", "features": "backbone", "finetune": "adversarial",
    "epsilons": ("8/255",), "steps": 50, "step_size": "1/255", "restarts": 3, "random_start": True,
    "autoattack": True, "alarm_images": 10, "max_images": 100, "head": HeadRecipe(epochs=2),
    "corruptions": "generated", "other_norms": {"l2": (0.5,)},
    "precision": "bf16-mixed", "knn_k": 5, "knn_temperature": 0.1, "seed": 6, "attack_loss": "both",
}  # fmt: skip
"""Each setting that changes the result of the default evaluation."""

ONLY_WITH = {
    "num_crops": (32, {"protocol": "crops"}),
    "crop_augmentation": ("geometric", {"protocol": "crops"}),
    "space": ("image", {"protocol": "crops"}),
    "finetune_recipe": (FinetuneRecipe(epochs=1), {"finetune": "adversarial"}),
    "train_epsilon": ("4/255", {"linear": "robust"}),
    "train_steps": (3, {"finetune": "adversarial"}),
    "train_step_size": (0.02, {"linear": "robust"}),
    "train_random_start": (True, {"linear": "robust"}),
    "batch_size": (64, {"restarts": 2}),
    "frost_pictures": ("frost", {"corruptions": "generated"}),
}
"""Settings that matter only together with others: a value, and the other settings."""

NEVER = {"compile": True, "fold": False}


def test_a_head_with_an_automatic_rate_depends_on_the_attack_of_its_validation():
    head = HeadRecipe(automatic_lr=True)
    one, other = (replace(SETTINGS, head=head, train_epsilon=e) for e in ("8/255", "4/255"))
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint(replace(SETTINGS, train_epsilon="4/255")) == fingerprint()


def test_every_setting_is_in_one_of_the_lists():
    known = set(RobustSettings.__dataclass_fields__)
    assert known == {*CHANGES, *ONLY_WITH, *NEVER}


@pytest.mark.parametrize("setting", CHANGES)
def test_a_setting_that_changes_the_result_changes_the_fingerprint(setting):
    assert fingerprint(replace(SETTINGS, **{setting: CHANGES[setting]})) != fingerprint()


@pytest.mark.parametrize("setting", ONLY_WITH)
def test_a_setting_counts_where_it_is_used(setting):
    value, needed = ONLY_WITH[setting]
    assert fingerprint(replace(SETTINGS, **{setting: value})) == fingerprint()
    used = replace(SETTINGS, **needed)
    assert fingerprint(replace(used, **{setting: value})) != fingerprint(used)


@pytest.mark.parametrize("setting", NEVER)
def test_a_setting_that_changes_speed_only_does_not_count(setting):
    assert fingerprint(replace(SETTINGS, **{setting: NEVER[setting]})) == fingerprint()


def test_batch_size_counts_where_random_numbers_are_drawn_by_batch():
    for used in ({"restarts": 2}, {"random_start": True}, {"autoattack": True}):
        settings = replace(SETTINGS, **used)
        assert fingerprint(settings) != fingerprint(replace(settings, batch_size=64))


@pytest.mark.parametrize(
    "change",
    [
        {"trained": {**TRAINED, "crops": {"size": 64}}},
        {"data": {**DATA, "fingerprint_train": "x"}},
        {"data": {**DATA, "fingerprint_test": "x"}},
        {"weights": {**WEIGHTS, "encoder": "x"}},
        {"weights": {**WEIGHTS, "head": "x", "head_given": True}},
    ],
)
def test_other_data_weights_and_training_change_it(change):
    assert fingerprint(**change) != fingerprint()


def test_the_words_for_a_checkpoint_of_another_repository_do_not_count():
    worded = [{**TRAINED, "recognised": words} for words in ("resnet18 of ACL", "an ACL")]
    assert fingerprint(trained=worded[0]) == fingerprint(trained=worded[1]) == fingerprint()


def test_settings_of_training_do_not_count_with_a_given_head():
    given = {**WEIGHTS, "head": "h", "head_given": True}
    robust = replace(SETTINGS, linear="robust")
    for change in ({"head": HeadRecipe(epochs=2)}, {"train_steps": 1}):
        one, other = (fingerprint(s, weights=given) for s in (robust, replace(robust, **change)))
        assert one == other
    assert fingerprint(weights=given) != fingerprint(weights={**given, "head": "other"})


def test_a_head_that_was_trained_does_not_change_the_fingerprint():
    assert fingerprint(weights={**WEIGHTS, "head": "trained here"}) == fingerprint()


def test_a_report_has_the_fingerprint_computed_before_the_evaluation(tmp_path):
    report = make_report(SETTINGS, pretrain_config=TRAINED)
    weights = {**report.weights, "head": None}
    before = fingerprint(data=report.data, weights=weights)
    assert fingerprint_of(report) == before
    write_report(report, tmp_path)
    assert find_report(tmp_path, before).measurements == report.measurements


def test_names_in_words():
    assert "-hidden-l2-00000000" in name(RobustSettings(norm="l2"))
    euclidean = RobustSettings(norm="l2", epsilons=(0.5, 2), finetune="adversarial")
    assert "-hidden-finetuned-l2-eps0.5-2-0" in name(euclidean)
    assert name() == "ep9-digits-central-standard-hidden-00000000"
    assert name(fraction=0.1).startswith("ep9-digits-fraction0.1-central")
    assert name(labels=0.01).startswith("ep9-digits-labels1percent-central")
    seeded = name(labels="5 per class", labels_seed=3)
    assert seeded.startswith("ep9-digits-labels5_per_class-labels-seed3-central")
    assert "-given-head-" in name(head_given=True)
    stored = replace(SETTINGS, corruptions="/data/CIFAR-10-C")
    assert name(stored).endswith("-hidden-corruptions-CIFAR-10-C-00000000")
    crops = {"protocol": "crops", "num_crops": 4, "space": "image"}
    settings = replace(SETTINGS, **crops, crop_augmentation="geometric", linear="robust")
    assert "-crops4-image-geometric-robust-hidden-" in name(settings)
    assert name(replace(SETTINGS, attack_loss="both")).endswith("-hidden-loss-both-00000000")
    settings = replace(
        SETTINGS, finetune="adversarial", epsilons=("4/255", 0.05), steps=50, restarts=3,
        random_start=True, autoattack=True, max_images=1000, seed=6, precision="bf16-mixed",
    )  # fmt: skip
    assert name(settings).startswith(
        "ep9-digits-central-standard-hidden-finetuned-eps4-12.75-steps50-restarts3-random-start-"
        "autoattack-images1000-bf16-mixed-seed6-"
    )


def test_names_fit_file_systems_shells_and_the_command_line():
    foreign = Path("my runs/the best [one]=1.ckpt")
    made = name(checkpoint=foreign, dataset="folder train, folder test")
    assert made == "the-best-one-1-folder-train-folder-test-central-standard-hidden-00000000"
    assert len(name(checkpoint=Path(f"{300 * 'x'}.ckpt"))) < 200
    assert name(checkpoint=Path("run/x-run-ep=4-batch=10.ckpt")).startswith("ep4-batch10-")


def test_without_report_nothing_is_found(tmp_path):
    assert find_report(tmp_path / "nothing", "0" * 16) is None


def _of_earlier_days(held):
    held["weights"] = None


def _with_other_settings(held):
    held["config"]["steps"] = 21


def _of_later_days(held):
    held["config"]["norms"] = ["l7"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_of_earlier_days, "to another measurement"),
        (_with_other_settings, "to another measurement"),
        (_of_later_days, "Unknown key in the evaluation 'norms'"),
        (lambda held: held.pop("data"), "is not a whole report"),
        (lambda held: held["data"].clear(), "fingerprint_train"),
    ],
)
def test_a_damaged_or_foreign_report_is_refused_and_not_overwritten(tmp_path, change, words):
    report = make_report(pretrain_config={})
    measured = fingerprint_of(report)
    file = write_report(report, tmp_path)["json"]
    assert find_report(tmp_path, measured) == report
    held = json.loads(file.read_text())
    change(held)
    file.write_text(json.dumps(held))
    with pytest.raises(UserError, match=words) as caught:
        find_report(tmp_path, measured)
    assert str(file) in str(caught.value)
    assert "again=true" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_code_is_named():
    versions, commit = environment.versions(), environment.git_commit()
    assert other_code(make_report(versions=versions, git_commit=commit)) is None
    older = make_report(versions={**versions, "torch": "2.0"}, git_commit="abc")
    assert other_code(older) == (
        f"torch 2.0 (now {versions['torch']}), commit abc (now {commit or 'unknown'})"
    )
