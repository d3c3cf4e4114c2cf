import json
import re
from dataclasses import fields, replace

import pytest
import torch
from hydra import compose, initialize_config_module
from torch import nn

from solo_adv.encoders.weights import read_head
from solo_adv.evaluation import HeadRecipe, RobustSettings, all_alarms, evaluate_robustness
from solo_adv.report.record import AttackResult, Report
from solo_adv.report.writing import write_report
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.support.settings import plain

SETTINGS = RobustSettings(
    epsilons=("4/255", "8/255"),
    steps=5,
    head=HeadRecipe(lr=0.1, batch_size=50, epochs=1, min_updates=60),
    max_images=40,
)
KEYS = {
    "method", "checkpoint", "protocol", "linear", "features", "clean", "clean_top5", "knn",
    "attacks", "alarms", "num_images", "head", "config", "pretrain_config", "crop_passes", "seed",
    "versions", "git_commit", "data", "hardware", "seconds", "date", "probes",
    "weights",
}  # fmt: skip
ATTACK_KEYS = {
    "name", "steps", "step_size", "restarts", "random_start", "epsilon", "epsilon_text",
    "accuracy", "correct", "total", "seconds", "notes", "broken_by",
}  # fmt: skip


def evaluate(encoder, train_set, test_set, settings=SETTINGS):
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
def report(two_features, two_feature_set):
    return evaluate(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"))


def attack(epsilon, accuracy, name="PGD-20"):
    return AttackResult(
        name=name,
        steps=20,
        step_size=0.01,
        restarts=1,
        random_start=False,
        epsilon=epsilon / 255,
        epsilon_text=f"{epsilon}/255",
        accuracy=accuracy,
        correct=round(1000 * accuracy),
        total=1000,
        seconds=1.0,
    )


def test_json_holds_everything_and_reads_back(report, tmp_path):
    paths = write_report(report, tmp_path / "new" / "folder")
    held = json.loads(paths["json"].read_text())
    assert set(held) == KEYS
    assert all(set(attack) == ATTACK_KEYS for attack in held["attacks"])
    assert held["method"] == "cfamc"
    assert held["num_images"] == 40
    assert [a["epsilon_text"] for a in held["attacks"]] == ["4/255", "8/255"]
    assert held["attacks"][1]["epsilon"] == 8 / 255
    assert held["pretrain_config"] == {"lr": 0.3, "limit": "inf", "views": [1, 2]}
    assert held["crop_passes"] == 1234
    assert held["head"]["lr"] == 0.1
    assert RobustSettings.from_config(held["config"]) == SETTINGS
    assert set(held["versions"]) >= {
        "python", "torch", "torchvision", "lightning", "timm", "solo_adv",
    }  # fmt: skip
    assert held["versions"]["torch"] == torch.__version__.split("+")[0]
    assert held["data"]["name"] == "toy"
    assert (held["data"]["train_images"], held["data"]["test_images"]) == (200, 60)
    assert held["data"]["fingerprint_train"] != held["data"]["fingerprint_test"]
    assert set(held["hardware"]) == {"device", "name", "cores", "processes"}
    assert {"features", "knn", "standard head", "clean", "PGD-5 at 8/255", "total"} <= set(
        held["seconds"]
    )
    assert Report.read(paths["json"]) == replace(
        report, examples=None, head_state=None, pretrain_config=held["pretrain_config"]
    )


def test_a_given_head_is_judged_as_it_is(report, two_features, two_feature_set, tmp_path):
    head = read_head(write_report(report, tmp_path)["head"], 2)
    assert report.weights["head"] == weights_fingerprint(head.state_dict())
    sets = two_feature_set(), two_feature_set(60, 1, "toy test")
    again = evaluate_robustness(
        two_features, *sets, SETTINGS, method="cfamc", checkpoint="", pretrain_config={},
        device="cpu", head=head, quiet=True,
    )  # fmt: skip
    assert again.weights == {**report.weights, "head_given": True}
    assert [a.correct for a in again.attacks] == [a.correct for a in report.attacks]
    with pytest.raises(UserError, match="head_weights"):
        evaluate_robustness(
            two_features, *sets, replace(SETTINGS, finetune="adversarial"), method="",
            checkpoint="", pretrain_config={}, device="cpu", head=head, quiet=True,
        )  # fmt: skip
    with pytest.raises(UserError, match="do not fit"):
        read_head(tmp_path / "head.safetensors", 3)


def test_figures_are_those_of_the_toy(report):
    # The fragile feature is always right and always broken at 8/255 (it differs by 4/255).
    assert report.clean == 1
    assert report.knn > 0.9
    assert report.attacks[1].accuracy < 0.2
    assert report.alarms == []


def test_robust_head_is_asked_for_by_the_settings(two_features, two_feature_set):
    settings = RobustSettings.from_config({**SETTINGS.to_config(), "linear": "robust"})
    report = evaluate(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"), settings)
    assert report.linear == "robust"
    assert report.attacks[1].accuracy > 0.7


def test_the_encoder_comes_back_as_it_was(two_features, two_feature_set):
    two_features.train()
    two_features.norm.eval()
    before = {name: value.clone() for name, value in two_features.state_dict().items()}
    evaluate(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"))
    assert two_features.training
    assert not two_features.norm.training
    assert all(p.requires_grad and p.grad is None for p in two_features.parameters())
    assert all(torch.equal(v, before[n]) for n, v in two_features.state_dict().items())


def test_same_seed_same_report(two_features, two_feature_set, report):
    again = evaluate(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"))
    assert (again.clean, again.knn) == (report.clean, report.knn)
    assert [a.correct for a in again.attacks] == [a.correct for a in report.attacks]
    assert torch.equal(again.examples.attacked, report.examples.attacked)


def test_markdown_shows_the_figures_of_the_json(report, tmp_path):
    report.clean, report.clean_top5, report.knn = 0.7, 0.91, 0.512
    report.attacks = [attack(4, 0.45), replace(attack(8, 0.2), notes=["too weak"])]
    report.num_images = 1000
    report.alarms = ["something is wrong"]
    text = write_report(report, tmp_path)["md"].read_text()
    for row in (
        "| clean, top-1 | 70.00 | ± 1.45 |",
        "| clean, top-5 | 91.00 | ± 0.90 |",
        "| PGD-20 at 4/255 | 45.00 | ± 1.57 |",
        "| PGD-20 at 8/255 | 20.00 | ± 1.26 |",
        "| kNN (k = 20), clean | 51.20 | ± 1.58 |",
        "| chance (2 classes) | 50.00 |",
        "> **ALARM** something is wrong",
        "Note on PGD-20 at 8/255: too weak",
        "1,234 crop passes",
    ):
        assert row in text
    assert len(text.splitlines()) < 40


def test_png_is_a_picture_with_and_without_examples(report, tmp_path):
    sizes = []
    for examples in (report.examples, None):
        path = write_report(replace(report, examples=examples), tmp_path)["png"]
        data = path.read_bytes()
        assert data.startswith(b"\x89PNG\r\n")
        sizes.append(len(data))
    assert sizes[0] > sizes[1] > 10_000


def test_examples_are_within_the_threat_model(report):
    examples = report.examples
    change = (examples.attacked - examples.clean).abs().max().item()
    assert 0 < change <= 8 / 255 + 1e-6
    assert examples.attacked.min() >= 0
    assert examples.attacked.max() <= 1
    assert set(examples.truth) == {"no", "yes"}
    assert examples.before == examples.truth
    assert examples.after != examples.truth


def test_a_report_is_replaced_whole_or_not_at_all(report, tmp_path, monkeypatch):
    first = write_report(report, tmp_path)["json"].read_text()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "disk full")))
    report.method = "other"
    with pytest.raises(UserError, match="disk full"):
        write_report(report, tmp_path)
    assert (tmp_path / "report.json").read_text() == first
    files = {"head.safetensors", "report.json", "report.md", "report.png"}
    assert {p.name for p in tmp_path.iterdir()} == files


def test_unwritable_directory(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write the report"):
        write_report(report, tmp_path / "file" / "below")


def test_alarm_when_robust_accuracy_rises_with_epsilon():
    fine = [attack(16, 0.1), attack(4, 0.5), attack(8, 0.1)]
    assert all_alarms(0.6, fine) == []
    (message,) = all_alarms(0.6, [attack(4, 0.2393), attack(8, 0.2657), attack(16, 0.07)])
    assert re.search(r"rises from 23\.93% at 4/255 to 26\.57% at 8/255", message)
    # two attacks are not compared with each other
    assert all_alarms(0.6, [attack(4, 0.2, "PGD-20"), attack(8, 0.3, "other")]) == []


def test_alarm_when_an_attack_helps():
    assert all_alarms(0.5, [attack(4, 0.5)]) == []
    (message,) = all_alarms(0.5, [attack(4, 0.51)])
    assert "51.00%, is above clean accuracy, 50.00%" in message


def test_alarms_reach_the_report(monkeypatch, two_features, two_feature_set):
    fake = iter([attack(4, 0.3), attack(8, 0.4)])
    monkeypatch.setattr("solo_adv.evaluation.robust.evaluate_pgd", lambda *_, **__: next(fake))
    report = evaluate(two_features, two_feature_set(), two_feature_set(60, 1, "toy test"))
    assert len(report.alarms) == 1


def test_settings_defaults_are_the_papers():
    settings = RobustSettings.from_config({})
    assert settings == RobustSettings()
    assert settings.epsilons == (4 / 255, 8 / 255, 16 / 255)
    assert (settings.steps, settings.step_size, settings.restarts) == (20, 0.01, 1)
    assert (settings.train_epsilon, settings.train_steps) == (8 / 255, 5)
    assert RobustSettings.from_config({"epsilons": "8/255"}).epsilons == (8 / 255,)
    assert RobustSettings(epsilons=("8/255", 0.01)).epsilons == (0.01, 8 / 255)


def test_the_commands_defaults_are_those_of_the_settings():
    with initialize_config_module("solo_adv.conf", version_base="1.3"):
        config = plain(compose("robust"))
    besides = {"checkpoint", "encoder", "results_dir", "accelerator", "data", "head_weights"}
    assert besides <= set(config)
    given = {key: value for key, value in config.items() if key not in besides}
    assert set(given) == {field.name for field in fields(RobustSettings)}
    # the command line knows the encoder, and takes what features it has
    assert RobustSettings.from_config(given) == RobustSettings(features="auto")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"protocol": "corner"}, "Unknown protocol 'corner'. Accepted: central, crops"),
        ({"space": "pixel"}, "Unknown space 'pixel'. Accepted: crop, image"),
        ({"num_crops": 0}, "num_crops must be a whole number of at least 1"),
        ({"crop_augmentation": "none"}, "Unknown crop_augmentation 'none'"),
        ({"finetune": True}, "Unknown finetune 'True'. Accepted: adversarial, none"),
        ({"finetune": "adversarial", "protocol": "crops"}, "use protocol=central"),
        ({"finetune_recipe": 3}, "finetune_recipe must be a group of settings"),
        ({"finetune_recipe": {"steps": 1}}, "Unknown key in finetune_recipe 'steps'"),
        ({"finetune_recipe": {"epochs": 0}}, "finetune_recipe.epochs must be"),
        ({"finetune_recipe": {"lr": 0}}, "finetune_recipe.lr must be"),
        ({"finetune_recipe": {"batch_size": 1}}, "finetune_recipe.batch_size must be"),
        ({"finetune_recipe": {"weight_decay": -1}}, "finetune_recipe.weight_decay must be"),
        ({"finetune_recipe": {"augment": 1}}, "finetune_recipe.augment must be true or false"),
        ({"autoattack": 1}, "autoattack must be true or false"),
        ({"alarm_images": -1}, "alarm_images must be a whole number of at least 0"),
        ({"linear": "rle"}, "Unknown linear 'rle'. Accepted: robust, standard"),
        ({"features": "projector"}, "Unknown features 'projector'"),
        ({"epsilon": 0.1}, "Unknown key in the evaluation 'epsilon'. Did you mean 'epsilons'"),
        ({"epsilons": [8]}, "Did you mean 8/255"),
        ({"epsilons": []}, "one or more fractions above 0"),
        ({"epsilons": [0, 0.1]}, "one or more fractions above 0"),
        ({"epsilons": None}, "epsilons is a fraction"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"steps": True}, "steps must be a whole number"),
        ({"step_size": -1}, "step_size is a fraction"),
        ({"restarts": 0}, "restarts must be"),
        ({"random_start": "no"}, "random_start must be true or false"),
        ({"max_images": 0}, "max_images must be"),
        ({"batch_size": 1.5}, "batch_size must be"),
        ({"train_epsilon": 8}, "train_epsilon is a fraction"),
        ({"train_steps": 0}, "train_steps must be"),
        ({"train_step_size": "x"}, "train_step_size is a fraction"),
        ({"knn_k": 0}, "knn_k must be"),
        ({"knn_temperature": 0}, "knn_temperature must be"),
        ({"seed": -1}, "seed must be"),
        ({"head": "adam"}, "head must be a group of settings"),
        ({"head": {"rl": 1}}, "Unknown key in head 'rl'"),
    ],
)
def test_bad_settings(setting, message):
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        RobustSettings.from_config(setting)
    assert "\n" not in str(caught.value)


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

    report = run()
    assert [(a.name, a.epsilon_text) for a in report.attacks] == [
        ("PGD-5", "4/255"),
        ("PGD-5", "8/255"),
        ("AutoAttack", "4/255"),
        ("AutoAttack", "8/255"),
    ]
    assert report.alarms == []
    written = write_report(report, tmp_path)
    text = written["md"].read_text()
    assert "| AutoAttack at 8/255 |" in text
    assert "AutoAttack standard (pyautoattack 0." in text
    assert Report.read(written["json"]).attacks == report.attacks

    # A second run finds head and verdicts on disk: it neither trains nor attacks.
    def never(*_, **__):
        raise AssertionError("done already")

    monkeypatch.setattr("solo_adv.evaluation.robust.train_head_on_features", never)
    monkeypatch.setattr(autoattack, "_attack", never)
    again = run()
    assert [a.correct for a in again.attacks] == [a.correct for a in report.attacks]
    with pytest.raises(AssertionError, match="done already"):
        run(seed=6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ["L-infinity: the adversary knows all weights and changes every pixel of the image"]),
        ({"protocol": "crops"}, ["each of the 16 resized crops", "no change of the image"]),
        ({"protocol": "crops", "space": "image", "num_crops": 3}, ["from which the 3 crops"]),
        ({"finetune": "adversarial"}, ["Fine-tuning: encoder and head together", "10 epochs"]),
    ],
)
def test_the_threat_model_is_in_words(report, tmp_path, change, words):
    report.config = replace(SETTINGS, **change).to_config()
    text = write_report(report, tmp_path)["md"].read_text()
    assert "- Threat model: white-box, end to end" in text
    assert all(word in text for word in words)
