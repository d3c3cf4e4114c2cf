"""A robust evaluation as a whole, on toy images whose right answers are known."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from solo_adv.encoders.weights import read_head
from solo_adv.evaluation import HeadRecipe, RobustSettings, evaluate_robustness
from solo_adv.report.measurement import Measurement
from solo_adv.report.record import Report
from solo_adv.report.writing import write_report
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import weights_fingerprint

SETTINGS = RobustSettings(
    epsilons=("4/255", "8/255"),
    steps=5,
    head=HeadRecipe(lr=0.1, batch_size=50, epochs=1, min_updates=60),
    max_images=40,
)


def evaluate(encoder, train_set, test_set, settings=SETTINGS):
    return judge(encoder, train_set, test_set, settings).report


def judge(encoder, train_set, test_set, settings=SETTINGS):
    return evaluate_robustness(
        encoder,
        train_set,
        test_set,
        settings,
        method="cfamc",
        checkpoint="trained_models/cfamc/one.ckpt",
        pretrain_config={"lr": 0.3, "limit": float("inf"), "views": (1, 2)},
        device="cpu",
        crop_passes=1234,
        quiet=True,
    )


@pytest.fixture
def outcome(two_features, two_feature_set):
    return judge(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"))


@pytest.fixture
def report(outcome):
    return outcome.report


def accuracies(report):
    return {m.label: m.accuracy for m in report.measurements}


def test_several_norms_are_in_one_report(two_features, two_feature_set, tmp_path):
    sets = two_feature_set(), two_feature_set(60, 1, "toy test")
    both = judge(two_features, *sets, replace(SETTINGS, other_norms={"l2": (0.25, 0.5)}))
    found = accuracies(both.report)
    own = accuracies(evaluate(two_features, *sets))
    assert {label: found[label] for label in own} == own
    l2 = replace(SETTINGS, norm="l2", epsilons=(0.25, 0.5), step_size="auto")
    alone = accuracies(evaluate(two_features, *sets, l2))
    assert {label: alone[label] for label in found if "L2" in label} == {
        label: found[label] for label in ("PGD-5 at 0.25 (L2)", "PGD-5 at 0.5 (L2)")
    }
    assert not both.report.alarms
    text = write_report(both.report, tmp_path, examples=both.examples)["md"].read_text()
    assert "| PGD-5 at 0.5 (L2) |" in text


def test_what_is_measured_and_what_is_on_record(outcome, tmp_path):
    report = outcome.report
    assert [m.label for m in report.measurements] == [
        *("kNN", "clean", "clean, top-5", "PGD-5 at 4/255", "PGD-5 at 8/255"),
    ]
    assert {m.total for m in report.measurements} == {report.num_images} == {40}
    assert report.by_label["PGD-5 at 8/255"].settings == {
        "norm": "linf",
        "epsilon": 8 / 255,
        "steps": 5,
        "step_size": 0.01,
        "restarts": 1,
        "random_start": False,
    }
    assert report.by_label["kNN"].settings == {"k": 20, "temperature": 0.07}
    assert RobustSettings.from_config(report.config) == SETTINGS
    assert report.config["head"]["lr"] == 0.1
    assert set(report.versions) >= {
        "python", "torch", "torchvision", "lightning", "timm", "solo_adv",
    }  # fmt: skip
    assert report.versions["torch"] == torch.__version__.split("+")[0]
    assert report.data["name"] == "toy"
    assert (report.data["train_images"], report.data["test_images"]) == (200, 60)
    assert report.data["fingerprint_train"] != report.data["fingerprint_test"]
    assert set(report.hardware) == {"device", "name", "cores", "processes"}
    assert set(report.seconds) == {"features", "standard head", "probes", "examples", "total"}
    assert all(m.seconds > 0 for m in report.attacks)
    written = write_report(*outcome[:1], tmp_path, examples=outcome.examples, head=outcome.head)
    read = Report.read(written["json"])
    assert read.pretrain_config == {"lr": 0.3, "limit": "inf", "views": [1, 2]}
    assert replace(read, pretrain_config=report.pretrain_config) == report


def test_a_given_head_is_judged_as_it_is(outcome, two_features, two_feature_set, tmp_path):
    report = outcome.report
    head = read_head(write_report(report, tmp_path, head=outcome.head)["head"], 2)
    assert report.weights["head"] == weights_fingerprint(head.state_dict())
    sets = two_feature_set(), two_feature_set(60, 1, "toy test")
    again = evaluate_robustness(
        two_features, *sets, SETTINGS, method="cfamc", checkpoint="", pretrain_config={},
        device="cpu", head=head, quiet=True,
    ).report  # fmt: skip
    assert again.weights == {**report.weights, "head_given": True}
    assert accuracies(again) == accuracies(report)
    with pytest.raises(UserError, match="head_weights"):
        evaluate_robustness(
            two_features, *sets, replace(SETTINGS, finetune="adversarial"), method="",
            checkpoint="", pretrain_config={}, device="cpu", head=head, quiet=True,
        )  # fmt: skip
    with pytest.raises(UserError, match="do not fit"):
        read_head(tmp_path / "head.safetensors", 3)


def test_figures_are_those_known_for_the_toy_images(report):
    # The fragile feature is always right and always broken at 8/255 (it differs by 4/255).
    assert report.by_label["clean"].accuracy == 1
    assert report.by_label["kNN"].accuracy > 0.9
    assert report.attacks[1].accuracy < 0.2
    assert report.alarms == []


def test_robust_head_is_asked_for_by_the_settings(two_features, two_feature_set):
    settings = RobustSettings.from_config({**SETTINGS.to_config(), "linear": "robust"})
    report = evaluate(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"), settings)
    assert report.config["linear"] == "robust"
    assert report.attacks[1].accuracy > 0.7


def test_the_encoder_is_unchanged_afterwards(two_features, two_feature_set):
    two_features.train()
    two_features.norm.eval()
    before = {name: value.clone() for name, value in two_features.state_dict().items()}
    evaluate(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"))
    assert two_features.training
    assert not two_features.norm.training
    assert all(p.requires_grad and p.grad is None for p in two_features.parameters())
    assert all(torch.equal(v, before[n]) for n, v in two_features.state_dict().items())


def test_same_seed_same_report(two_features, two_feature_set, outcome):
    again = judge(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"))
    assert accuracies(again.report) == accuracies(outcome.report)
    assert torch.equal(again.examples.attacked, outcome.examples.attacked)


def test_examples_are_within_the_threat_model(outcome):
    examples = outcome.examples
    change = (examples.attacked - examples.clean).abs().max().item()
    assert 0 < change <= 8 / 255 + 1e-6
    assert examples.attacked.min() >= 0
    assert examples.attacked.max() <= 1
    assert set(examples.truth) == {"no", "yes"}
    assert examples.before == examples.truth
    assert examples.after != examples.truth


def test_alarms_reach_the_report(monkeypatch, two_features, two_feature_set):
    fake = (
        Measurement(
            name="PGD-5", correct=correct, total=40, settings={"norm": "linf", "epsilon": epsilon}
        )
        for epsilon, correct in ((4 / 255, 12), (8 / 255, 16))
    )
    monkeypatch.setattr("solo_adv.evaluation.protocols.pgd_in_turn", lambda *_: [next(fake)])
    report = evaluate(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"))
    assert len(report.alarms) == 1


def test_bad_sets(two_features, two_feature_set, random_set):
    train_set, test_set = two_feature_set(), two_feature_set(60, 1, "toy test")
    with pytest.raises(UserError, match="different classes"):
        evaluate(two_features, train_set, random_set(num_classes=3))
    with pytest.raises(UserError, match="toy test holds no image"):
        evaluate(two_features, train_set, test_set.subset([]))
    for which in (train_set, test_set):
        which.labels[5] = -1
        with pytest.raises(UserError, match=f"{which.name} has images without label"):
            evaluate(two_features, train_set, test_set)
        which.labels[5] = 0


def test_stages_are_said_on_stderr(capsys, two_features, two_feature_set):
    evaluate_robustness(
        two_features,
        two_feature_set(),
        two_feature_set(60, 1, "toy test"),
        SETTINGS,
        method="cfamc",
        checkpoint="c",
        pretrain_config={},
        device="cpu",
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert re.search(r"^clean: 100\.00%, ", said.err, re.MULTILINE)
    assert "PGD-5 at 8/255: " in said.err


def test_long_stages_say_how_long_they_will_take(capsys, monkeypatch):
    from solo_adv.support import progress  # noqa: PLC0415

    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(progress.track(range(10), "Attack", 10)) == list(range(10))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Attack: 2 of 10, about 2 min 40 s left"
    assert len(lines) == 4


def test_encoder_without_parameters_is_fine(random_set):
    train_set, test_set = random_set(60, name="toy train"), random_set(30, seed=1)
    assert evaluate(nn.Flatten(), train_set, test_set).num_images == 30


def test_probes_are_on_record_and_can_be_switched_off(two_features, two_feature_set):
    sets = two_feature_set(), two_feature_set(60, 1, "toy test")
    probes = evaluate(two_features, *sets, replace(SETTINGS, alarm_images=10)).probes
    assert probes["images"] == 10
    assert probes["zero_epsilon_correct"] == probes["clean_correct"] == 10
    assert evaluate(two_features, *sets, replace(SETTINGS, alarm_images=0)).probes is None


def test_alarms_of_probes_reach_the_report(two_features, two_feature_set):
    class Saturated(nn.Module):
        def forward(self, images):
            return 1e6 * two_features(images)

    report = evaluate(Saturated().eval(), two_feature_set(), two_feature_set(60, 1, "toy test"))
    assert any(alarm.startswith("Zero gradients") for alarm in report.alarms)


def test_autoattack_is_part_of_the_report(monkeypatch, pattern_net, pattern_set, tmp_path):
    from solo_adv.evaluation.attacks import autoattack  # noqa: PLC0415

    make = autoattack._ensemble

    def shorter(*arguments):
        ensemble = make(*arguments)
        ensemble.square.n_queries = 20
        for attack in (ensemble.apgd, ensemble.apgd_targeted, ensemble.fab):
            attack.n_iter = 10
        return ensemble

    monkeypatch.setattr(autoattack, "_ensemble", shorter)

    def run(**changes):
        return evaluate_robustness(
            pattern_net().encoder,
            pattern_set(150),
            pattern_set(40, seed=1, name="patterns test"),
            replace(SETTINGS, autoattack=True, max_images=None, **changes),
            method="cfamc",
            checkpoint="c",
            pretrain_config={},
            device="cpu",
            directory=tmp_path / "progress",
            quiet=True,
        )

    report = run().report
    assert [attack.label for attack in report.attacks] == [
        *("PGD-5 at 4/255", "PGD-5 at 8/255", "AutoAttack at 4/255", "AutoAttack at 8/255"),
    ]
    assert report.alarms == []
    written = write_report(report, tmp_path)
    text = written["md"].read_text()
    assert "| AutoAttack at 8/255 |" in text
    assert "AutoAttack standard (pyautoattack 0." in text
    assert Report.read(written["json"]).attacks == report.attacks

    # A second run finds head and verdicts on disk, so it neither trains nor attacks.
    def never(*_, **__):
        raise AssertionError("done already")

    monkeypatch.setattr("solo_adv.evaluation.subject.train_head_on_features", never)
    monkeypatch.setattr(autoattack, "_attack", never)
    assert accuracies(run().report) == accuracies(report)
    with pytest.raises(AssertionError, match="done already"):
        run(seed=6)


def test_corruptions_are_part_of_the_report(monkeypatch, pattern_net, pattern_set, tmp_path):
    def run(**changes):
        return evaluate_robustness(
            pattern_net().encoder,
            pattern_set(150),
            pattern_set(40, seed=1, name="patterns test"),
            replace(SETTINGS, max_images=20, alarm_images=0, **changes),
            method="cfamc",
            checkpoint="c",
            pretrain_config={},
            device="cpu",
            directory=tmp_path / "progress",
            quiet=True,
        )

    report = run(corruptions="generated").report
    (found,) = [m for m in report.measurements if "corruptions" in m.label]
    assert found.images == 20
    assert report.alarms == []
    assert accuracies(run().report) == {
        label: accuracy for label, accuracy in accuracies(report).items() if label != found.label
    }
    written = write_report(report, tmp_path)
    text = written["md"].read_text()
    assert f"| {found.label} | {100 * found.accuracy:.2f} |" in text
    first = " | ".join(
        f"{5 * found.details[f'contrast {severity}']:.2f}" for severity in range(1, 6)
    )
    assert f"| contrast | {first} |" in text
    assert Report.read(written["json"]).by_label[found.label] == found

    # A second run finds head and counts on disk, so it neither trains nor judges.
    def never(*_, **__):
        pytest.fail("done again")

    monkeypatch.setattr("solo_adv.evaluation.subject.train_head_on_features", never)
    monkeypatch.setattr("solo_adv.evaluation.corruptions.judging._right", never)
    assert run(corruptions="generated").report.by_label[found.label] == found


def test_a_wrong_folder_of_corruptions_is_found_before_anything_is_computed(
    monkeypatch, two_features, two_feature_set
):
    def never(*_, **__):
        pytest.fail("computed")

    monkeypatch.setattr("solo_adv.evaluation.subject.extract", never)
    with pytest.raises(UserError, match="there is no such folder"):
        evaluate(
            two_features,
            two_feature_set(),
            two_feature_set(60, 1, "toy test"),
            replace(SETTINGS, corruptions="nowhere"),
        )
