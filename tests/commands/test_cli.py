"""Command lines as a user types them: whole jobs, and mistakes answered in one line, status 2."""

import json
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

from solo_adv import load_pretrained
from solo_adv.objectives import EMP
from solo_adv.training.checkpoints import Checkpointer

TINY = [
    "data=digits",
    "data.fraction=0.2",
    "optimizer.batch_size=64",
    "crops.num_crops=2",
    "backbone.kwargs.width=4",
    "method_kwargs.proj_hidden_dim=16",
    "method_kwargs.proj_output_dim=8",
    "accelerator=cpu",
]


@pytest.fixture
def checkpoint(command, tmp_path):
    """The last checkpoint of a run of one epoch."""
    status, out, err = command("main_pretrain", "--config-name", "cfamc", *TINY, "max_epochs=1")
    assert status == 0, err
    return tmp_path / out.strip().split("Checkpoint: ")[1]


def test_pretraining_leaves_what_solo_learn_leaves(checkpoint):
    directory = checkpoint.parent
    assert checkpoint.name == f"cfamc-digits-{directory.name}-ep=0.ckpt"
    assert directory.parent.name == "cfamc"
    args = json.loads((directory / "args.json").read_text())
    assert args["method"] == "cfamc"
    assert args["optimizer"]["lr"] == pytest.approx(0.005 * 64 / 256)
    header, *rows = (directory / "metrics.csv").read_text().splitlines()
    assert {"train_emp_loss_epoch", "lr", "val_acc1", "val_knn_acc1"} <= set(header.split(","))
    assert rows


def test_the_config_is_printed_as_it_is_saved(command, tmp_path):
    arguments = ["--config-name", "cfamc", *TINY, "max_epochs=1", "+enable_progress_bar=false"]
    arguments += ["precision=64-true"]
    status, out, err = command("main_pretrain", *arguments, "verbose=true")
    assert status == 0, err
    assert "crop passes" not in err  # no progress bar
    printed, _, path = out.partition("Checkpoint: ")[0].rpartition("Saved as ")
    assert OmegaConf.to_container(OmegaConf.create(printed)) == json.loads(
        (tmp_path / path.strip()).read_text()
    )
    assert "lr: 0.00125" in printed  # scaled by the batch size


def test_load_pretrained(checkpoint):
    encoder = load_pretrained(checkpoint)
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())
    pixels = torch.rand(3, 3, 16, 16, requires_grad=True)
    assert encoder(pixels).shape == (3, 16) == (3, encoder.features_dim)
    assert torch.autograd.grad(encoder(pixels).sum(), pixels)[0].abs().max() > 0
    assert load_pretrained(checkpoint.parent, features="backbone")(pixels).shape == (3, 32)
    embeddings = load_pretrained(checkpoint, features="projector")(pixels)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


def test_robust_evaluation(command, checkpoint):
    status, out, err = command(
        "main_robust",
        f"checkpoint='{checkpoint}'",
        *("linear=robust", "head.min_updates=2", "head.epochs=1", "max_images=20"),
        *("epsilons=[2/255,8/255]", "steps=3", "accelerator=cpu"),
    )
    assert status == 0, err
    *_, png, md, written = out.split()
    report = json.loads(Path(written).read_text())
    attacks = [m for m in report["measurements"] if m["name"] == "PGD-3"]
    assert [a["settings"]["epsilon"] for a in attacks] == [2 / 255, 8 / 255]
    assert {m["total"] for m in report["measurements"]} == {20}
    assert report["config"]["linear"] == "robust"
    assert report["crop_passes"] == 3 * 2 * 64 * 4  # replays x crops x batch size x batches
    assert png.endswith("report.png")
    assert md.endswith("report.md")


def test_linear_evaluation(command, checkpoint):
    status, out, err = command(
        "main_linear",
        f"pretrained_feature_extractor='{checkpoint.parent}'",
        *("max_epochs=2", "scheduler.lr_decay_steps=[1]", "optimizer.batch_size=64"),
        "accelerator=cpu",
    )
    assert status == 0, err
    assert "acc@1" in out


def test_linear_evaluation_with_few_labels(command, checkpoint, tmp_path):
    few = ["data.labels=4_per_class", "data.labels_seed=1", "optimizer.batch_size=20"]
    status, out, err = command(
        *("main_linear", f"pretrained_feature_extractor='{checkpoint.parent}'", "max_epochs=1"),
        *("accelerator=cpu", *few),
    )
    assert status == 0, err
    assert "Trained on 40 images: 4_per_class of the labels: 4 of each of 10 classes" in out
    (results,) = tmp_path.rglob("results.json")
    drawn = {"part": "4_per_class", "seed": 1, "per_class": [4] * 10}
    assert json.loads(results.read_text())["labels"] == drawn


def test_knn_with_few_labels(command, checkpoint):
    knn = ["main_knn", "--pretrained_checkpoint_dir", checkpoint.parent]
    status, few, err = command(*knn, "--labels", "2_per_class", "--labels_seed", 1)
    assert status == 0, err
    assert few != command(*knn)[1]
    status, _, err = command(*knn, "--labels", "2")
    assert status == 2
    assert "data.labels is '2'" in err
    assert err.count("\n") == 1


def test_knn_with_solo_learns_flags(command, checkpoint):
    status, out, err = command(
        "main_knn",
        *("--pretrained_checkpoint_dir", checkpoint.parent, "--k", 1, 20, "--temperature", 0.07),
        *("--distance_function", "cosine", "euclidean", "--feature_type", "backbone", "projector"),
    )
    assert status == 0, err
    assert out.count("acc@1=") == 8


def test_a_map_of_features_with_solo_learns_flags(command, checkpoint, tmp_path):
    status, out, err = command(
        "main_umap",
        *("--pretrained_checkpoint_dir", checkpoint.parent, "--kind", "tsne"),
        *("--max_images", 30, "--steps", 2, "--output", "maps/digits"),
    )
    assert status == 0, err
    assert out.split() == ["maps/digits.png", "maps/digits.csv"]
    assert len((tmp_path / "maps/digits.csv").read_text().splitlines()) == 31


@pytest.mark.slow
def test_resume_continues_the_run_and_only_the_same_run(command, monkeypatch):
    arguments = ["main_pretrain", "--config-name", "cfamc", *TINY, "max_epochs=3"]
    _stop_after_epoch(monkeypatch, 1)
    status, _, _ = command(*arguments)
    assert status == "stopped"
    status, out, _ = command(*arguments, "adversary.epsilon=4/255")
    assert status == 0
    assert "Resuming" not in out
    status, out, _ = command(*arguments)
    assert status == 0
    assert "Resuming from" in out
    assert out.strip().endswith("ep=2.ckpt")


@pytest.mark.slow
def test_resumed_weights_equal_uninterrupted_ones(command, monkeypatch, tmp_path):
    arguments = ["main_pretrain", "--config-name", "cfamc", *TINY, "max_epochs=3"]
    _, out, _ = command(*arguments, "checkpoint.dir=straight")
    straight = tmp_path / out.strip().split("Checkpoint: ")[1]
    _stop_after_epoch(monkeypatch, 1)
    command(*arguments, "checkpoint.dir=broken")
    _, out, _ = command(*arguments, "checkpoint.dir=broken")
    assert "Resuming" in out
    broken = tmp_path / out.strip().split("Checkpoint: ")[1]
    one, other = (torch.load(path, weights_only=True)["state_dict"] for path in (straight, broken))
    assert all(torch.equal(one[key], other[key]) for key in one)


def _stop_after_epoch(monkeypatch, epoch):
    """End the command once, after it has saved this epoch, counted from 0."""
    save = Checkpointer.on_train_epoch_end

    def save_and_stop(self, trainer, method):
        save(self, trainer, method)
        if trainer.current_epoch == epoch:
            monkeypatch.setattr(Checkpointer, "on_train_epoch_end", save)
            raise SystemExit("stopped")

    monkeypatch.setattr(Checkpointer, "on_train_epoch_end", save_and_stop)


def test_non_finite_loss_keeps_and_names_the_last_good_checkpoint(command, monkeypatch, tmp_path):
    call, count = EMP.__call__, {"calls": 0}

    def poisoned(self, update):
        count["calls"] += 1
        poison = float("nan") if count["calls"] > 15 else 1.0
        return call(self, update._replace(z=update.z * poison))

    monkeypatch.setattr(EMP, "__call__", poisoned)
    status, _, err = command("main_pretrain", "--config-name", "cfamc", *TINY, "max_epochs=3")
    assert status == 2
    (kept,) = tmp_path.rglob("*.ckpt")
    assert "no longer finite" in err
    batch = load_file(kept.with_name("non_finite_batch.safetensors"))
    assert batch["view_0"].dtype == torch.uint8
    assert len(batch["view_0"]) == len(batch["indexes"]) == len(batch["targets"]) == 64
    assert str(kept.relative_to(tmp_path)) in err
    weights = torch.load(kept, weights_only=True)["state_dict"]
    assert all(torch.isfinite(w).all() for w in weights.values())


PRETRAIN = ("main_pretrain", "--config-name", "cfamc")
MISTAKES = {
    "no method": (("main_pretrain",), "acl.yaml, cfamc.yaml, deacl.yaml, deacl_fast.yaml"),
    "unknown config": (("main_pretrain", "--config-name", "cfamk"), "Did you mean 'cfamc'?"),
    "unknown method": ((*PRETRAIN, "method=cfamk", "data=digits"), "Did you mean 'cfamc'?"),
    "unknown data": ((*PRETRAIN, "data=cifar1"), "Did you mean 'cifar10'?"),
    "unknown data set": ((*PRETRAIN, "data.dataset=cifar11"), "Did you mean 'cifar10'?"),
    "unknown key": ((*PRETRAIN, "optimiser.lr=1"), "optimiser"),
    "unknown new key": ((*PRETRAIN, "+max_epoch=1"), "max_epochs"),
    "unknown method_kwargs": (
        (*PRETRAIN, "data=digits", "+method_kwargs.proj_dim=1"),
        "proj_hidden_dim",
    ),
    "nearest of all": ((*PRETRAIN, "max_epoch=1"), "Did you mean 'max_epochs'"),
    "dashes": (("main_robust", "--checkpoint", "runs/a"), "error: Write checkpoint=runs/a"),
    "nearest new key": ((*PRETRAIN, "+optimizer.lrr=1"), "Did you mean 'lr'?"),
    "nearest of the schedule": ((*PRETRAIN, "+scheduler.warmup_epoch=1"), "'warmup_epochs'?"),
    "nearest of kNN": ((*PRETRAIN, "+knn_eval.distance=cosine"), "'distance_func'?"),
    "nearest of checkpoints": ((*PRETRAIN, "+checkpoint.minute=1"), "'minutes'?"),
    "nearest of the backbone": ((*PRETRAIN, "+backbone.stm=auto"), "'stem'?"),
    "nearest backbone option": (
        (*PRETRAIN, "data=digits", "+backbone.kwargs.widht=4"),
        "Did you mean 'width'?",
    ),
    "nearest optimiser option": (
        (*PRETRAIN, "+optimizer.kwargs.momentun=0.5"),
        "Did you mean 'momentum'?",
    ),
    "epochs in words": ((*PRETRAIN, "max_epochs=two"), "a whole number"),
    "batches in words": ((*PRETRAIN, "+limit_train_batches=all"), "a whole number or a number"),
    "a number for a switch": ((*PRETRAIN, "sync_batchnorm=3"), "true or false"),
    "nearest of robust": (("main_robust", "epsilon=1/255"), "Did you mean 'epsilons' or"),
    "nearest of linear": (
        ("main_linear", "pretrained_feature_extractor=x", "+optimizer.lrr=1"),
        "Did you mean 'lr'?",
    ),
    "missing path": (
        (*PRETRAIN, "data=custom", "data.train_path=nowhere"),
        "data.train_path does not exist",
    ),
    "no path": ((*PRETRAIN, "data=custom"), "data.train_path"),
    "empty folder": ((*PRETRAIN, "data=custom", "data.train_path=empty"), "empty"),
    "labels expected": ((*PRETRAIN, "data=custom", "data.train_path=flat"), "no_labels=true"),
    "no CIFAR": ((*PRETRAIN, "data.download=false"), "data=digits"),
    "epsilon in levels": ((*PRETRAIN, "data=digits", "adversary.epsilon=8"), "8/255"),
    "step size in levels": ((*PRETRAIN, "data=digits", "adversary.step_size=2"), "2/255"),
    "ready crops from nowhere": (
        (*PRETRAIN, "data=digits", "crops.source=loader"),
        "Use crops.source=",
    ),
    "one crop": ((*PRETRAIN, "data=digits", "crops.num_crops=1"), "at least 2"),
    "large batch": ((*PRETRAIN, "data=digits", "optimizer.batch_size=5000"), "1297"),
    "unknown backbone": ((*PRETRAIN, "data=digits", "backbone.name=resnet19"), "resnet18"),
    "bad optimiser option": (
        (*PRETRAIN, "data=digits", "+optimizer.kwargs={eta: 1}"),
        "optimizer.kwargs 'eta'",
    ),
    "bad optimiser": ((*PRETRAIN, "data=digits", "optimizer.name=adamm"), "adam"),
    "unwritable": ((*PRETRAIN, "data=digits", "checkpoint.dir=/proc/x"), "checkpoint.dir"),
    "bad precision": ((*PRETRAIN, "data=digits", "precision=7"), "precision"),
    "bad syntax": ((*PRETRAIN, "data=digits", "crops.scale=[1"), "crops.scale=[1"),
    "no checkpoint given": (("main_robust",), "checkpoint=PATH"),
    "no such checkpoint": (("main_robust", "checkpoint=nowhere.ckpt"), "No checkpoint at"),
    "not a checkpoint": (("main_robust", "checkpoint=flat/a.png"), "not a readable checkpoint"),
    "unknown protocol": (("main_robust", "protocol=corner"), "central"),
    "unknown head": (("main_robust", "linear=robustt"), "robust"),
    "epsilons in levels": (("main_robust", "epsilons=[4,8]"), "4/255"),
    "no run to probe": (("main_linear",), "pretrained_feature_extractor"),
    "map without run": (("main_umap", "--pretrained_checkpoint_dir", "empty"), "No checkpoint"),
    "kNN without run": (("main_knn", "--pretrained_checkpoint_dir", "empty"), "No checkpoint"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_read_as_one_line(case, command, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "flat" / "a.png")
    arguments, words = MISTAKES[case]
    status, _, err = command(*arguments)
    lines = [line for line in err.splitlines() if line.strip()]
    assert status == 2, err
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert not (tmp_path / "trained_models").exists()


def test_a_checkpoint_of_something_else_is_refused(command, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    status, _, err = command("main_robust", "checkpoint=other.ckpt")
    assert status == 2
    assert "holds no weights of a backbone" in err


def test_weights_that_do_not_fit_are_refused(command, checkpoint, tmp_path):
    saved = torch.load(checkpoint, weights_only=True)
    del saved["state_dict"]["backbone.conv1.weight"]
    torch.save(saved, tmp_path / "damaged.ckpt")
    status, _, err = command("main_robust", "checkpoint=damaged.ckpt")
    assert status == 2
    assert "backbone.conv1.weight" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("main_robust", "checkpoint=evil.ckpt"),
        ("main_pretrain", "--config-name", "cfamc", *TINY, "+resume_from_checkpoint=evil.ckpt"),
    ],
    ids=["evaluated", "resumed"],
)
def test_a_pickle_is_not_executed(command, tmp_path, arguments):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "pwned"), "w")

    torch.save({"state_dict": Evil(), "solo_adv": {}}, tmp_path / "evil.ckpt")
    status, _, err = command(*arguments)
    assert status == 2
    assert "not a readable checkpoint" in err
    assert "Traceback" not in err
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("asked", ["data.format=dali", "crops.backend=dali"])
def test_missing_dali_names_the_extra(asked, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    status, _, err = command("main_pretrain", "--config-name", "cfamc", *TINY, asked)
    assert status == 2
    assert "pip install 'solo-adv[dali]'" in err
    assert "Traceback" not in err
