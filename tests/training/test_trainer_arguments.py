"""Every argument of Lightning's Trainer works in a run, or is refused by name with the reason."""

import csv
import inspect
import json

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim.optimizer import register_optimizer_step_post_hook

from solo_adv.adversaries import Free

JOB = [
    *("main_pretrain", "--config-name", "cfamc", "data=digits", "data.fraction=0.2"),
    *("optimizer.batch_size=32", "crops.num_crops=2", "crops.size=16", "backbone.kwargs.width=8"),
    *("+backbone.kwargs.layers=[1,1,1,1]", "method_kwargs.proj_hidden_dim=16", "max_epochs=1"),
    *("method_kwargs.proj_output_dim=8", "accelerator=cpu", "log_every_n_steps=1"),
]
BATCHES, REPLAYS = 8, 3  # batches of an epoch

REFUSED = {
    "barebones": "true",
    "default_root_dir": "runs",
    "enable_autolog_hparams": "false",
    "limit_predict_batches": "1",
    "limit_test_batches": "0.5",
    "model_registry": "models",
    "overfit_batches": "2",
    "reload_dataloaders_every_n_epochs": "1",
    "use_distributed_sampler": "true",
    "strategy": "ddp_spawn",
    "profiler": "stopwatch",
    "callbacks": "early_stopping",
    "logger": "csv",
    "gradient_clip_val": "-1",
    "gradient_clip_algorithm": "mean",
    "accumulate_grad_batches": "0",
    "max_time": "soon",
}
TOGETHER = {
    "benchmark": "false",
    "check_val_every_n_epoch": "1",
    "detect_anomaly": "true",
    "deterministic": "true",
    "enable_model_summary": "true",
    "enable_progress_bar": "true",
    "inference_mode": "false",
    "limit_train_batches": "4",
    "limit_val_batches": "1",
    "min_epochs": "1",
    "min_steps": "1",
    "num_sanity_val_steps": "1",
    "profiler": "simple",
    "val_check_interval": "0.5",
}
"""Arguments that one run may have together."""
OF_A_TEST = {
    *("accumulate_grad_batches", "callbacks", "enable_checkpointing", "fast_dev_run"),
    *("gradient_clip_algorithm", "gradient_clip_val", "logger", "max_steps", "max_time", "plugins"),
    *("accelerator", "devices", "log_every_n_steps", "max_epochs", "num_nodes", "precision"),
    *("strategy", "sync_batchnorm"),  # these two lines' are in configs, and tested elsewhere
}


def test_every_argument_is_tested_here():
    assert set(inspect.signature(Trainer).parameters) <= {*REFUSED, *TOGETHER, *OF_A_TEST}


@pytest.mark.parametrize("key", REFUSED)
def test_arguments_without_a_use_are_refused_with_the_reason(key, command, tmp_path):
    status, _, err = command(*JOB, f"++{key}={REFUSED[key]}")
    assert status == 2
    assert err.count("\n") == 1
    assert err.startswith(f"error: {key}") or err.startswith(f"error: Unknown {key}")
    assert not (tmp_path / "trained_models").exists()


@pytest.mark.parametrize("name", ["ddp_fork", "fsdp", "deepspeed_stage_2", "dp"])
def test_strategies_that_attacks_cannot_use_are_refused(command, name):
    status, _, err = command(*JOB, f"strategy={name}")
    assert status == 2
    assert f"strategy={name} is not supported" in err


@pytest.mark.parametrize("nothing", ["overfit_batches=0", "use_distributed_sampler=false"])
def test_values_that_change_nothing_are_accepted(command, tmp_path, nothing):
    status, _, err = command(*JOB, f"+{nothing}", "+fast_dev_run=1")
    assert status == 0, err
    assert not (tmp_path / "trained_models").exists()  # fast_dev_run keeps nothing


def test_arguments_that_a_run_passes_on(command, tmp_path):
    status, _out, err = command(*JOB, *(f"++{key}={value}" for key, value in TOGETHER.items()))
    assert status == 0, err
    (metrics,) = tmp_path.rglob("metrics.csv")
    rows = [row for row in csv.DictReader(metrics.open()) if row["val_acc1"]]
    assert len(rows) == 2  # val_check_interval
    (profile,) = tmp_path.rglob("*profile-simple.txt")
    assert "run_training_batch" in profile.read_text()
    torch.use_deterministic_algorithms(False)


class Witness(Callback):
    """Counts the batches that it sees."""

    seen = 0

    def on_train_batch_end(self, *args):
        Witness.seen += 1


def test_callbacks_are_called_and_logs_and_checkpoints_can_be_off(command, tmp_path):
    Witness.seen = 0
    named = "+callbacks=[{_target_: tests.training.test_trainer_arguments.Witness}]"
    status, _out, err = command(*JOB, named, "+logger=false", "+enable_checkpointing=false")
    assert status == 0, err
    assert Witness.seen == BATCHES
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["args.json"]
    status, _, err = command(*JOB, "+logger=false", "tensorboard.enabled=true")
    assert status == 2
    assert "logger=false turns off all logs, and tensorboard.enabled=true asks for one" in err


def test_loggers_of_the_config_are_added(command, tmp_path):
    kind = "lightning.pytorch.loggers.CSVLogger"
    named = f"+logger={{_target_: {kind}, save_dir: other, name: '', version: ''}}"
    status, _, err = command(*JOB, named, "+limit_train_batches=1")
    assert status == 0, err
    assert (tmp_path / "other" / "metrics.csv").exists()
    assert len(list(tmp_path.rglob("metrics.csv"))) == 2


def test_plugins_of_the_config_are_used(command):
    kind = "lightning.pytorch.plugins.environments.LightningEnvironment"
    status, _, err = command(*JOB, f"+plugins=[{{_target_: {kind}}}]", "+fast_dev_run=1")
    assert status == 0, err
    status, _, err = command(*JOB, "+plugins=[{_target_: nowhere.Plugin}]", "+fast_dev_run=1")
    assert status == 2
    assert "plugins cannot be built" in err


@pytest.fixture
def updates():
    """The gradients, joined, at every step of the optimiser."""
    seen = []

    def watch(optimizer, *_):
        groups = optimizer.param_groups
        seen.append(torch.cat([p.grad.flatten() for group in groups for p in group["params"]]))

    handle = register_optimizer_step_post_hook(watch)
    yield seen
    handle.remove()


SGD = ["optimizer.name=sgd", "optimizer.kwargs=null"]  # LARS changes the gradients in place


@pytest.mark.parametrize(("algorithm", "bound"), [("norm", 0.01), ("value", 0.001)])
def test_every_update_is_clipped(command, updates, algorithm, bound):
    clip = [f"+gradient_clip_val={bound}", f"+gradient_clip_algorithm={algorithm}"]
    status, _, err = command(*JOB, *SGD, "+limit_train_batches=2", *clip)
    assert status == 0, err
    assert len(updates) == 2 * REPLAYS
    sizes = [g.norm() if algorithm == "norm" else g.abs().max() for g in updates]
    torch.testing.assert_close(torch.stack(sizes), torch.full((len(sizes),), bound))


def test_accumulated_gradients_are_the_mean_over_the_batches(command, updates, monkeypatch):
    status, _, err = command(*JOB, *SGD, "+limit_train_batches=1")
    assert status == 0, err
    first_alone = updates[0].norm()
    updates.clear()
    gradients, kept = [], []
    backward, update = LightningModule.manual_backward, Free.update

    def watched_backward(self, loss):
        before = [None if p.grad is None else p.grad.clone() for p in self.parameters()]
        backward(self, loss)
        parts = zip(self.parameters(), before, strict=True)
        gradients.append(
            torch.cat([(p.grad - (0 if old is None else old)).flatten() for p, old in parts]).norm()
        )

    def watched_update(self, crops, delta):
        kept.append((delta.detach().clone(), crops))
        update(self, crops, delta)
        kept[-1] += (self.delta.clone(),)

    monkeypatch.setattr(LightningModule, "manual_backward", watched_backward)
    monkeypatch.setattr(Free, "update", watched_update)
    arguments = [*SGD, "+accumulate_grad_batches=2", "+limit_train_batches=5"]
    status, _, err = command(*JOB, *arguments)
    assert status == 0, err
    groups = [2, 2, 1]  # the last batch of an epoch does not wait
    assert len(updates) == len(groups) * REPLAYS
    assert len(kept) == sum(groups) * REPLAYS
    # Each batch of a group continues from its own perturbation.
    for replay in range(REPLAYS - 1):
        for place in range(2):
            after, before = kept[2 * replay + place][2], kept[2 * replay + 2 + place][0]
            torch.testing.assert_close(after, before)
    assert not torch.equal(kept[0][2], kept[1][2])
    # The second group takes over the perturbations of the first, place by place.
    first, second = kept[2 * (REPLAYS - 1)], kept[2 * REPLAYS]
    assert (first[2] - second[0]).abs().max() < 16 / 255
    assert (second[0] != 0).float().mean() > 0.5
    # Each backward pass gives half of its batch's gradient, so their sum is a mean.
    torch.testing.assert_close(2 * gradients[0], first_alone)
    total = gradients[0] + gradients[1]
    assert (gradients[0] - gradients[1]).abs() <= updates[0].norm() <= total


def test_max_steps_counts_updates_and_not_replays(command, tmp_path):
    job = [*JOB, "+max_steps=3"]
    status, out, err = command(*job)
    assert status == 0, err
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert checkpoint.name.endswith("-ep=0-batch=3.ckpt")
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["global_step"] == 3 * REPLAYS
    assert saved["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0)  # the schedule is over
    (config,) = tmp_path.rglob("args.json")
    assert json.loads(config.read_text())["ended"] is True
    status, out, err = command(*job)
    assert status == 0, err
    assert "Resuming" not in out  # the run is finished


def test_a_run_that_its_time_ends_can_be_given_more(command, tmp_path):
    status, _, err = command(*JOB, "+max_time={seconds: 0.01}")
    assert status == 0, err
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    assert checkpoint.name.endswith("-ep=0-batch=1.ckpt")
    status, out, err = command(*JOB, "+max_time={hours: 1}")
    assert status == 0, err
    assert "Resuming from" in out
    assert [path.name[-9:] for path in tmp_path.rglob("*.ckpt")] == ["ep=0.ckpt"]
