"""Two real processes that share the test set give the same report as a single one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import solo_adv
from solo_adv.evaluation import (
    Bench,
    HeadRecipe,
    RobustSettings,
    evaluate_autoattack,
    evaluate_robustness,
)
from solo_adv.evaluation.attacks import autoattack as autoattack_module
from solo_adv.evaluation.attacks.seeds import generator_for
from solo_adv.evaluation.heads.kept import kept_weights
from solo_adv.evaluation.images import my_batches
from solo_adv.support.processes import from_first, merged, most, rank, same_everywhere, world_size
from tests.several import run_in_processes

SETTINGS = RobustSettings(
    epsilons=("12/255", "24/255"),
    steps=3,
    step_size=0.02,
    restarts=3,  # all but the first start at random
    batch_size=8,
    head=HeadRecipe(lr=0.01, batch_size=50, epochs=2, min_updates=0),
    linear="robust",
    train_steps=1,
    corruptions="generated",
    alarm_images=20,
)


def judge(encoder, train_set, test_set):
    return evaluate_robustness(
        encoder,
        train_set,
        test_set,
        SETTINGS,
        method="cfamc",
        checkpoint="c",
        pretrain_config={},
        device="cpu",
        quiet=True,
    ).report


def short_autoattack(net, image_set, directory):
    make = autoattack_module._ensemble

    def shorter(*arguments):
        ensemble = make(*arguments)
        ensemble.square.n_queries = 20
        for attack in (ensemble.apgd, ensemble.apgd_targeted, ensemble.fab):
            attack.n_iter = 6
        return ensemble

    autoattack_module._ensemble = shorter
    try:
        return evaluate_autoattack(
            Bench(net, image_set, batch_size=8), epsilon=24 / 255, directory=directory
        )
    finally:
        autoattack_module._ensemble = make


def figures(report):
    return {
        "correct": {m.label: m.correct for m in report.measurements},
        "probes": {k: v for k, v in report.probes.items() if isinstance(v, int)},
        "processes": report.hardware["processes"],
    }


def in_a_process(number, port, results, directory, subject):
    net, train_set, test_set = subject
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=number, world_size=2)
    try:
        assert (rank(), world_size()) == (number, 2)
        assert merged(torch.tensor([1, number])).tolist() == [2, 1]
        assert most(torch.tensor(float(number))) == 1
        assert from_first(f"of {number}") == "of 0"
        layer = torch.nn.Linear(2, 2)
        same_everywhere(layer.requires_grad_(False))
        mine = [b.number for b in my_batches(test_set, torch.arange(20), 8, "cpu", first=1)]
        assert mine == [[1], [2]][number]
        report = judge(net.encoder, train_set, test_set)
        attacked = short_autoattack(net, test_set, Path(directory))
        results[number] = (figures(report), attacked.correct, attacked.details, layer.weight)
    finally:
        dist.destroy_process_group()


def test_two_processes_give_the_result_of_one(pattern_net, pattern_set, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # With 43 images the last batch is small, and the processes have different numbers of batches.
    net, sets = pattern_net(), (pattern_set(100), pattern_set(43, seed=1, name="patterns test"))
    with mp.Manager() as manager:
        results = manager.dict()
        run_in_processes(in_a_process, (port, results, str(tmp_path), (net, *sets)), 2)
        first, second = results[0], results[1]
    assert first[:3] == second[:3]
    assert torch.equal(first[3], second[3])
    alone = figures(judge(net.encoder, *sets))
    assert first[0] == {**alone, "processes": 2}
    weaker, stronger = (alone["correct"][f"PGD-3 at {level}/255"] for level in (12, 24))
    assert 0 < stronger < weaker < 43
    attacked = short_autoattack(net, sets[1], None)
    assert first[1:3] == (attacked.correct, attacked.details)
    # A single process can continue from the state that two processes wrote.
    (state,) = tmp_path.glob("autoattack-*.json")
    held = json.loads(state.read_text())
    held["attack"], held["batches"] = 1, 2
    for image, verdict in enumerate(held["verdicts"]):
        held["verdicts"][image] = -1 if verdict > 0 else verdict
    state.write_text(json.dumps(held))
    assert short_autoattack(net, sets[1], tmp_path).correct >= attacked.correct


def test_one_process_gets_all_batches(pattern_set):
    assert (rank(), world_size()) == (0, 1)
    image_set = pattern_set(20)
    stream = list(my_batches(image_set, torch.tensor([3, 1, 7, 9, 2]), 2, "cpu"))
    assert [batch.number for batch in stream] == [0, 1, 2]
    assert [batch.places.tolist() for batch in stream] == [[3, 1], [7, 9], [2]]
    assert torch.equal(stream[1].labels, image_set.labels[[7, 9]])
    assert list(my_batches(image_set, torch.tensor([], dtype=torch.long), 2, "cpu")) == []


def test_random_numbers_of_each_attack_and_batch_differ():
    drawn = {
        torch.rand(1, generator=generator_for(*key, device="cpu")).item()
        for key in ((5, 0, 0), (5, 0, 1), (5, 1, 0), (6, 0, 0), (5, 1, 1))
    }
    assert len(drawn) == 5


def test_damaged_weights_are_named(tmp_path):
    path, layer = tmp_path / "w.pt", torch.nn.Linear(2, 2)
    trained = kept_weights(path, layer, lambda: torch.nn.Linear(2, 2), lambda m: m)
    again = kept_weights(path, layer, lambda: pytest.fail("trained twice"), lambda m: m)
    assert torch.equal(again.weight, trained.weight)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is damaged"):
        kept_weights(path, layer, lambda: layer, lambda m: m)


@pytest.mark.slow
def test_torchrun(tmp_path):
    """The command under torchrun writes the report that it writes alone."""

    def command(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = command(
        *(
            "solo_adv.commands.pretrain",
            "--config-name",
            "cfamc",
            "data=digits",
            "data.fraction=0.2",
        ),
        *("crops.num_crops=2", "optimizer.batch_size=64", "backbone.kwargs.width=4"),
        *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"),
        *("max_epochs=1", "accelerator=cpu"),
    )
    checkpoint = out.strip().split("Checkpoint: ")[1]
    reports = {}
    script = Path(solo_adv.__file__).parents[1] / "main_robust.py"
    runs = {"one": [script], "two": ["torch.distributed.run", "--nproc-per-node", 2, script]}
    for name, launcher in runs.items():
        start = launcher if name == "two" else ["solo_adv.commands.robust"]
        words = (
            *(f"checkpoint='{checkpoint}'", f"results_dir={name}", "max_images=60"),
            *("batch_size=16", "steps=3", "restarts=2", "accelerator=cpu", "alarm_images=20"),
            "data.labels=20_per_class",
        )
        out = command(*start, *words)
        assert out.count("# cfamc on digits, 20 labels a class") == 1
        again = command(*start, *words)
        assert again.count("Measured before: ") == again.count("# cfamc on digits") == 1
        (path,) = (tmp_path / name).rglob("report.json")
        reports[name] = json.loads(path.read_text())
    assert reports["two"]["hardware"]["processes"] == 2
    assert reports["two"]["data"] == reports["one"]["data"]
    one, two = (
        [(m["name"], m["correct"], m["total"]) for m in reports[name]["measurements"]]
        for name in ("one", "two")
    )
    assert one == two
