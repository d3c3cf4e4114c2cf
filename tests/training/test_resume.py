"""A run that is stopped at any point and started again ends like an uninterrupted run."""

import csv
import json
import signal
import warnings

import pytest
import torch

from solo_adv.methods.adversarial import AdversarialMethod
from solo_adv.support.files import digest_path
from solo_adv.training.checkpoints import Checkpointer, StopSignals
from tests.adversaries.threat_model import assert_admitted

JOB = [
    *("data=digits", "data.fraction=0.2", "optimizer.batch_size=32", "crops.num_crops=2"),
    *("crops.size=16", "backbone.kwargs.width=4", "+backbone.kwargs.layers=[1,1,1,1]"),
    *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8", "max_epochs=2"),
    *("accelerator=cpu", "log_every_n_steps=1"),
]
BATCHES = 8  # an epoch
METHODS = {
    "cfamc": [],
    "robust_emp": ["adversary.random_start=true", "adversary.steps=2"],
    "simclr_freeadv": [],
    "dynacl": ["adversary.steps=2"],
}


@pytest.fixture
def pretrain(command, tmp_path):
    """A function that runs the job below a directory; returns status, output, errors."""

    def run(method, directory, *more):
        return command(
            *("main_pretrain", "--config-name", method, *JOB, *METHODS[method]),
            *(f"checkpoint.dir={tmp_path / directory}", *more),
        )

    return run


def interrupt_after(monkeypatch, batches, name="SIGTERM"):
    """Send this process a signal, once, while it trains a batch of the run (counted from 1)."""

    def start(self, trainer, method, batch, batch_idx):
        if trainer.fit_loop.total_batch_idx + 1 == batches:
            monkeypatch.setattr(Checkpointer, "on_train_batch_start", original)
            signal.raise_signal(getattr(signal, name))

    original = Checkpointer.on_train_batch_start
    monkeypatch.setattr(Checkpointer, "on_train_batch_start", start)


def final(directory):
    """The contents of the last checkpoint of the only run below a directory."""
    (path,) = directory.rglob("*ep=1.ckpt")
    return torch.load(path, weights_only=True)


def last_metrics(directory):
    (path,) = directory.rglob("metrics.csv")
    rows = list(csv.DictReader(path.open()))
    return {
        key: row[key]
        for row in rows
        for key in row
        if row[key] and key.endswith(("_epoch", "val_acc1", "val_knn_acc1", "val_loss"))
    }


def logged(directory):
    """All rows of a run's only log."""
    (path,) = directory.rglob("metrics*.csv")
    return list(csv.DictReader(path.open()))


def assert_equal(one, other, at="checkpoint"):
    """Assert that two values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), at
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key in one:
            assert_equal(one[key], other[key], f"{at}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), at
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{at}.{number}")
    else:
        assert one == other, at


def assert_same_run(one, other):
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_equal(one[part], other[part], part)
    assert_equal(one["solo_adv"]["processes"], other["solo_adv"]["processes"])
    assert one["solo_adv"]["crop_passes"] == other["solo_adv"]["crop_passes"]


@pytest.mark.parametrize(
    ("method", "batches", "loading"),
    [
        pytest.param("cfamc", 3, [], marks=pytest.mark.slow),
        pytest.param("cfamc", BATCHES, [], marks=pytest.mark.slow),
        ("cfamc", BATCHES + 5, ["data.resident=false", "data.num_workers=2"]),
        pytest.param("robust_emp", 5, [], marks=pytest.mark.slow),
        pytest.param(
            "robust_emp",
            BATCHES + 1,
            ["data.resident=false", "data.num_workers=1"],
            marks=pytest.mark.slow,
        ),
        pytest.param("simclr_freeadv", 2, [], marks=pytest.mark.slow),
        pytest.param("dynacl", 3, [], marks=pytest.mark.slow),
        pytest.param("cfamc", 5, ["adversary.norm=l2"], marks=pytest.mark.slow),
        pytest.param("robust_emp", 3, ["adversary.norm=l2"], marks=pytest.mark.slow),
    ],
)
def test_a_run_that_a_signal_stops_within_an_epoch_loses_nothing(
    pretrain, monkeypatch, tmp_path, method, batches, loading
):
    status, _, err = pretrain(method, "straight", *loading)
    assert status == 0, err
    name = "SIGTERM" if method == "cfamc" else "SIGINT"
    interrupt_after(monkeypatch, batches, name)
    status, _, err = pretrain(method, "broken", *loading)
    assert status == 75, err
    assert f"Stopped by {name}" in err
    assert "the same command continues it" in err
    status, out, err = pretrain(method, "broken", *loading)
    assert status == 0, err
    assert "Resuming from" in out
    assert_same_run(final(tmp_path / "straight"), final(tmp_path / "broken"))
    assert last_metrics(tmp_path / "straight") == last_metrics(tmp_path / "broken")
    rows = zip(logged(tmp_path / "broken"), logged(tmp_path / "straight"), strict=True)
    different = {
        (one["step"], key): (one[key], other[key])
        for one, other in rows
        for key in other
        if one[key] != other[key]
    }
    assert not different


@pytest.mark.slow
def test_a_run_may_be_stopped_again_and_again(pretrain, monkeypatch, tmp_path):
    assert pretrain("cfamc", "straight")[0] == 0
    for batches, name in ((2, "SIGUSR1"), (3, "SIGTERM"), (BATCHES + 1, "SIGUSR1")):
        interrupt_after(monkeypatch, batches, name)
        assert pretrain("cfamc", "broken")[0] == 75
    assert pretrain("cfamc", "broken")[0] == 0
    assert_same_run(final(tmp_path / "straight"), final(tmp_path / "broken"))


def test_checkpoints_by_the_clock(pretrain, monkeypatch, tmp_path):
    saved = []
    monkeypatch.setattr(
        Checkpointer, "_save", lambda self, trainer, path: saved.append(path.stem.split("-ep=")[1])
    )
    status, _, err = pretrain("cfamc", "runs", "+checkpoint.minutes=1e-9")
    assert status == 0, err
    within = [f"{epoch}-batch={b}" for epoch in range(2) for b in range(1, BATCHES)]
    assert saved == [*within[: BATCHES - 1], "0", *within[BATCHES - 1 :], "1"]


@pytest.mark.parametrize("harm", ["one bit", pytest.param("cut off", marks=pytest.mark.slow)])
def test_a_damaged_checkpoint_is_passed_over(pretrain, monkeypatch, tmp_path, harm):
    assert pretrain("cfamc", "straight")[0] == 0
    interrupt_after(monkeypatch, BATCHES + 2)
    assert pretrain("cfamc", "broken")[0] == 75
    newest, before = sorted(
        (tmp_path / "broken").rglob("*.ckpt"), key=lambda p: "batch" not in p.name
    )
    assert "ep=0.ckpt" in before.name
    contents = bytearray(newest.read_bytes())
    if harm == "one bit":
        contents[len(contents) // 2] ^= 1
    else:
        del contents[len(contents) // 2 :]
    newest.write_bytes(contents)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        status, out, _ = pretrain("cfamc", "broken")
    assert status == 0
    assert any(f"Passed over: {newest}" in str(w.message) for w in caught)
    assert f"Resuming from {before}" in out
    assert_same_run(final(tmp_path / "straight"), final(tmp_path / "broken"))


def test_a_run_of_another_config_is_not_continued_and_the_difference_printed(pretrain, monkeypatch):
    interrupt_after(monkeypatch, 2)
    assert pretrain("cfamc", "runs")[0] == 75
    status, out, err = pretrain("cfamc", "runs", "adversary.epsilon=4/255")
    assert status == 0, err
    assert "Resuming" not in out
    assert "is not continued, it differs: adversary.epsilon was 8/255, is 4/255" in out


@pytest.mark.parametrize("method", ["cfamc", pytest.param("robust_emp", marks=pytest.mark.slow)])
def test_a_run_with_euclidean_perturbations(pretrain, monkeypatch, tmp_path, method):
    perturb, lengths = AdversarialMethod.perturb, []

    def watched(self, batch):
        delta = perturb(self, batch)
        assert_admitted("l2", 0.5, batch.attacked[:2], delta[:2].detach())
        lengths.append(delta.detach().flatten(1).norm(dim=1).max().item())
        return delta

    assert pretrain(method, "runs", "max_epochs=1")[0] == 0
    monkeypatch.setattr(AdversarialMethod, "perturb", watched)
    status, out, err = pretrain(method, "runs", "adversary.norm=l2", "max_epochs=1")
    assert status == 0, err
    assert "adversary.norm was linf, is l2" in out  # another run
    assert len(lengths) == (3 if method == "cfamc" else 1) * BATCHES
    assert max(lengths) > 0.1
    written = [json.loads(path.read_text())["adversary"] for path in tmp_path.rglob("args.json")]
    assert {a["norm"]: (a["epsilon"], a["step_size"]) for a in written} == {
        "linf": ("8/255", 0.01),
        "l2": (0.5, 0.1),
    }


def test_a_finished_run_leaves_one_checkpoint_with_its_checksum(pretrain, tmp_path):
    assert pretrain("cfamc", "runs")[0] == 0
    (path,) = tmp_path.rglob("*.ckpt")
    assert digest_path(path).read_text().endswith(f"  {path.name}\n")
    assert not list(tmp_path.rglob("*.unfinished"))


def test_a_second_signal_ends_at_once(monkeypatch):
    raised = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    signals = StopSignals()
    before = signal.getsignal(signal.SIGUSR1)
    signals.listen()
    try:
        signals._note(signal.SIGUSR1, None)
        assert not raised
        signals._note(signal.SIGUSR1, None)
        assert raised == [signal.SIGUSR1]
    finally:
        signals.ignore()
    assert signal.getsignal(signal.SIGUSR1) == before
