"""A method from outside the package that uses all that we offer, killed and resumed."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solo_adv import UserError
from solo_adv.methods import AdversarialMethod

OWN_METHOD = Path(__file__).with_name("own_method.py")
PATIENCE = 300  # seconds
DIGITS = [
    *("data=digits", "data.fraction=0.2", "optimizer.batch_size=32", "crops.size=16"),
    *("backbone.kwargs.width=4", "+backbone.kwargs.layers=[1,1,1,1]", "accelerator=cpu"),
]
EVERYTHING = [
    *("teacher.kind=network", "teacher.features=backbone", "backbone.batch_norms=2"),
    "averaging.decay=0.9",
]


def test_the_file_has_at_most_60_lines():
    assert len(OWN_METHOD.read_text().splitlines()) <= 60


def test_crops_that_change_are_not_drawn_by_a_loader(build, monkeypatch):
    def milder(self, progress):
        return replace(self.spec, jitter_prob=0.8 - 0.8 * progress)

    monkeypatch.setattr(AdversarialMethod, "spec_at", milder)
    build("cfamc")
    with pytest.raises(UserError, match=r"use crops\.source=device"):
        build("cfamc", **{"crops.source": "loader"})


def drawn_specs(method, monkeypatch):
    """A list that grows by the spec of every batch of crops that the method draws."""
    specs, draw = [], method.crops.draw
    monkeypatch.setattr(
        method.crops, "draw", lambda *size: specs.append(method.crops.spec) or draw(*size)
    )
    return specs


def test_crops_change_as_the_run_goes_on(build, fit, monkeypatch):
    def milder(self, progress):
        return replace(self.spec, jitter_prob=0.8 - 0.8 * progress)

    monkeypatch.setattr(AdversarialMethod, "spec_at", milder)
    method = build("emp_ssl", max_epochs=2)
    specs = drawn_specs(method, monkeypatch)
    fit(method, batches=2)
    assert [spec.jitter_prob for spec in specs] == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_the_config_anneals_the_crops_of_any_method(build, fit, monkeypatch):
    anneal = {"over": 0.5, "scale": 0.68}
    method = build("cfamc", max_epochs=2, **{"crops.anneal": anneal})
    assert method.cfg.crops.anneal == {**anneal, "stages": 0, "amounts": False}
    specs = drawn_specs(method, monkeypatch)
    fit(method, batches=2)
    assert [spec.jitter_prob for spec in specs] == pytest.approx([0.8, 0.4, 0.0, 0.0])
    assert [spec.scale[0] for spec in specs] == pytest.approx([0.08, 0.38, 0.68, 0.68])
    with pytest.raises(UserError, match=r"use crops\.source=device"):
        build("cfamc", **{"crops.anneal": anneal, "crops.source": "loader"})


@pytest.mark.slow
def test_killed_and_resumed_bit_for_bit(tmp_path):
    teacher = tmp_path / "teacher"
    small = ["method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"]
    arguments = ["--config-name", "emp_ssl", *DIGITS, *small, "crops.num_crops=2", "max_epochs=1"]
    finish([sys.executable, "-m", "solo_adv.commands.pretrain", *arguments], tmp_path, teacher)
    (taught_by,) = teacher.rglob("*.ckpt")

    plus = [f"+{argument}" if "=" in argument else argument for argument in DIGITS[:1]]
    command = [
        *(sys.executable, str(OWN_METHOD), "--config-name", "base", *plus, *DIGITS[1:]),
        *("+crops=simclr", "crops.num_crops=1", "+max_epochs=4", "+method=own", *EVERYTHING),
        *("+method_kwargs.consistency=2.0", f"teacher.checkpoint='{taught_by}'"),
        *("checkpoint.minutes=0.001", "log_every_n_steps=1"),
    ]
    finish(command, tmp_path, tmp_path / "whole")
    kill(command, tmp_path, tmp_path / "killed")
    assert "Resuming from" in finish(command, tmp_path, tmp_path / "killed")
    assert_same(last(tmp_path / "whole", 3), last(tmp_path / "killed", 3))


@pytest.mark.slow
def test_killed_and_resumed_bit_for_bit_on_solo_learn(solo_learn, tmp_path):
    random = np.random.default_rng(0)
    for label in range(6):  # solo-learn's top-5 accuracy needs at least five classes
        for split, count in (("train", 4), ("val", 1)):  # solo-learn enlarges the latter to 224
            folder = tmp_path / split / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                image = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(image).save(folder / f"{number}.png")
    common = [
        *("data=custom", f"data.train_path={tmp_path}/train", f"data.val_path={tmp_path}/val"),
        *("crops.size=16", "data.image_size=16", "optimizer.batch_size=8", "data.num_workers=0"),
        "accelerator=cpu",
        *("wandb.enabled=false", "backbone.stem=cifar"),
    ]
    run = [
        *(sys.executable, "-W", "ignore", "-c"),
        "import own_method; from solo_adv.solo_learn import main; main()",
        str(solo_learn / "main_pretrain.py"),
    ]
    small = ["method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"]
    teacher = ["--config-name", "emp_ssl.yaml", *common, *small, "max_epochs=1"]
    finish([*run, *teacher, "crops.num_crops=2"], tmp_path, tmp_path / "teacher")
    (taught_by,) = (tmp_path / "teacher").rglob("*.ckpt")
    command = [
        *(*run, "--config-name", "base.yaml", "+data=custom", *common[1:], "+crops=simclr"),
        *("crops.num_crops=1", "+max_epochs=3", "+method=own", *EVERYTHING, "seed=3"),
        *("+method_kwargs.consistency=2.0", f"teacher.checkpoint='{taught_by}'"),
    ]
    finish(command, tmp_path, tmp_path / "whole")
    kill(command, tmp_path, tmp_path / "killed")
    finish(command, tmp_path, tmp_path / "killed")
    assert_same(last(tmp_path / "whole", 2), last(tmp_path / "killed", 2))


def start(command, cwd, directory):
    paths = [str(OWN_METHOD.parent), *sys.path]
    return subprocess.Popen(
        [*command, f"checkpoint.dir='{directory}'"],
        cwd=cwd,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(command, cwd, directory):
    process = start(command, cwd, directory)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    return said


def kill(command, cwd, directory):
    """Kill a run as soon as its first checkpoint exists."""
    process = start(command, cwd, directory)
    deadline = time.monotonic() + PATIENCE
    while not list(directory.rglob("*ep=*.ckpt")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"


def last(directory, epoch):
    (path,) = directory.rglob(f"*ep={epoch}.ckpt")
    return torch.load(path, weights_only=False)


def assert_same(one, other):
    assert any(".clean." in name for name in one["state_dict"])
    assert any(name.startswith("averaged.") for name in one["state_dict"])
    for key in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(one[key], other[key], key)
    for part in ("adversary", "crops", "random"):
        states = (held["solo_adv"]["processes"][0][part] for held in (one, other))
        assert_equal(*states, part)
    assert one["solo_adv"]["crop_passes"] == other["solo_adv"]["crop_passes"]


def assert_equal(one, other, at):
    """Assert that two checkpoints are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), at
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key, value in one.items():
            assert_equal(value, other[key], f"{at}.{key}")
    elif isinstance(one, list | tuple):
        for number, (value, its) in enumerate(zip(one, other, strict=True)):
            assert_equal(value, its, f"{at}[{number}]")
    else:
        assert one == other, at
