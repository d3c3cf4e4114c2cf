"""The rows, plans, costs and command line of ``solo_adv.reproduce``."""

import json
import sys

import pytest

from solo_adv.cost import evaluation_passes, measured_throughput, passes_of_batch
from solo_adv.evaluation import HeadRecipe
from solo_adv.paper import MODELS, model_of
from solo_adv.paper import TABLES as PRINTED
from solo_adv.reproduce import __main__ as command_line
from solo_adv.reproduce.commands import looking_up
from solo_adv.reproduce.plan import Request, composed, plan
from solo_adv.reproduce.rows import EVALUATIONS, PAPER_TABLES, ROWS, TABLES
from solo_adv.reproduce.scales import Small, Tiny, tiny_epochs
from solo_adv.support.errors import UserError
from solo_adv.support.progress import duration
from solo_adv.support.settings import plain
from tests.reproduce.jobs import job, leave_run

# ------------------------------------------------------------------ rows


@pytest.mark.parametrize("name", PAPER_TABLES)
def test_a_table_has_the_papers_rows_and_data_sets(name):
    printed = {(f.row, f.dataset) for f in PRINTED[name].figures if f.dataset}
    assert {(line.row, dataset) for line in TABLES[name] for dataset in line.datasets} == printed


@pytest.mark.parametrize("row", MODELS)
def test_a_rows_config_trains_the_papers_model(row):
    assert model_of(plain(job(row).complete_config())) == row


def test_the_papers_unnamed_rows_are_none_of_its_models():
    others = [row for row in ROWS if row not in MODELS]
    assert len(others) > 10
    taken = {row: model_of(plain(job(row).complete_config())) for row in others}
    # These are other readings of rows that the paper prints.
    assert {row for row, model in taken.items() if model} == {
        "cfamc_m3_step_epsilon",
        "robust_simclr_cross",
        "robust_simclr_both",
        "robust_simclr_patch_half",
        "robust_simclr_patch_three_quarters",
        "supervised_freeadv_m3_sup_con",
        "supervised_freeadv_m7_sup_con",
    }


def test_evaluations_are_what_the_tables_measure():
    by = {name: {e for line in lines for e in line.evaluations} for name, lines in TABLES.items()}
    assert by["table2"] == {"standard", "crops32", "crops64"}
    assert by["table4"] == {"standard", "robust"}
    assert by["table6"] == {"autoattack"}
    settings = {e: composed("robust", EVALUATIONS[e].overrides) for e in EVALUATIONS}
    assert settings["crops64"].protocol == "crops"
    assert settings["crops64"].num_crops == 64
    assert settings["autoattack"].autoattack
    assert settings["autoattack"].linear == settings["robust"].linear == "robust"


# ------------------------------------------------------------------ plans


def test_rows_of_several_tables_run_once_with_all_their_evaluations():
    jobs = {j.name: j for j in plan(Request(tables=["all"], datasets=["cifar10"]))}
    assert len(jobs) == 19
    assert [e.name for e in jobs["cfamc_m3-cifar10"].evaluations] == ["standard", "autoattack"]
    assert [e.name for e in jobs["cfamc_m12-cifar10"].evaluations] == ["standard", "robust"]


def test_tiny_runs_every_row_once_on_digits():
    jobs = plan(Request(tables=["all"], scale=Tiny()))
    assert {j.name for j in jobs} == {f"{row}-digits" for row in MODELS}
    assert all(plain(j.config().data)["dataset"] == "digits" for j in jobs)


@pytest.mark.slow
def test_tiny_rows_differ_as_the_full_ones_do():
    seen = {}
    for planned in plan(Request(tables=["all"], scale=Tiny())):
        cfg, full = planned.config(), job(planned.row.name).config()
        assert cfg.method == full.method
        assert plain(cfg.adversary) == plain(full.adversary)
        assert plain(cfg.crops.scale) == plain(full.crops.scale)
        assert cfg.backbone.name == full.backbone.name
        crops, kept = full.crops.num_crops, cfg.crops.num_crops
        assert kept == crops if crops <= 2 else 2 <= kept < crops
        del cfg.name, cfg.checkpoint
        seen[planned.row.name] = json.dumps(plain(cfg), sort_keys=True)
    assert len(set(seen.values())) == len(seen)


def test_tiny_epochs_keep_their_order():
    assert [tiny_epochs(e) for e in (6, 10, 18, 30)] == [1, 2, 4, 6]
    assert [tiny_epochs(e) for e in (100, 167, 300, 500)] == [2, 3, 6, 10]


SMALL_ROWS = ("cfamc_m3", "cfamc_m12", "robust_emp_patch", "simclr_freeadv_m3", "emp_ssl")


def trained_passes(planned):
    """Crop passes of a run by its config, counted from batches and views."""
    cfg = planned.complete_config()
    batches = cfg.max_epochs * cfg.limit_train_batches
    assert cfg.limit_train_batches <= 50_000 // cfg.optimizer.batch_size
    return batches * cfg.optimizer.batch_size * passes_of_batch(cfg)


@pytest.mark.parametrize("row", SMALL_ROWS)
def test_small_rows_have_one_budget_and_their_own_method(row):
    planned, full = job(row, scale=Small(2_000_000)), job(row).complete_config()
    assert trained_passes(planned) == pytest.approx(2_000_000, rel=0.01)
    cfg = planned.complete_config()
    assert plain(cfg.adversary) == plain(full.adversary)
    assert cfg.crops.num_crops == full.crops.num_crops
    assert plain(cfg.crops.scale) == plain(full.crops.scale)
    assert cfg.optimizer.batch_size == full.optimizer.batch_size
    assert (cfg.data.dataset, cfg.backbone.kwargs.width) == ("cifar10", 16)
    assert planned.cost().pretraining == pytest.approx(2_000_000, rel=0.01)
    assert planned.name == f"{row}-cifar10-small-2M"


def test_proportional_budgets_are_in_the_papers_proportions():
    scale = Small(480_000, proportional=True)
    found = {row: trained_passes(job(row, scale=scale)) for row in ROWS_IN_PROPORTION}
    for row, passes in ROWS_IN_PROPORTION.items():
        assert found[row] == pytest.approx(1000 * passes, rel=0.02)


ROWS_IN_PROPORTION = {"cfamc_m3": 480, "robust_emp_crop": 2880, "simclr_freeadv_m3": 1002}
"""Crop passes for each image in the paper (docs/reproduction.md)."""


def test_small_evaluations_judge_all_images_and_fewer_by_the_dear_ones():
    planned = job("cfamc_m3", scale=Small())
    judged = {e: composed("robust", planned.judging(EVALUATIONS[e])) for e in EVALUATIONS}
    assert judged["standard"].max_images is None
    assert judged["standard"].head.optimizer == "lbfgs"
    recipe = HeadRecipe.from_config(plain(judged["robust"].head))
    assert (recipe.epochs_for(50_000), recipe.updates_per_epoch(50_000)) == (2, 391)
    assert judged["autoattack"].max_images == judged["crops32"].max_images == 1000
    assert (list(judged["crops32"].epsilons), judged["crops32"].alarm_images) == (["8/255"], 64)
    assert judged["autoattack"].epsilons == "auto"


def test_small_is_for_cifar():
    with pytest.raises(UserError, match="cifar10 or cifar100; got imagenet100"):
        plan(Request(tables=["all"], datasets=["imagenet100"], scale=Small()))


def test_judging_can_be_held_to_some_evaluations():
    asked = {"rows": ["cfamc_m3"], "datasets": ["cifar10"]}
    (all_of_them,) = plan(Request(**asked))
    (one,) = plan(Request(**asked, evaluations=["standard"]))
    assert [e.name for e in one.evaluations] == ["standard"]
    assert one.pretraining == all_of_them.pretraining
    assert len(all_of_them.evaluations) > 1
    # autoattack covers robust, but not if only robust is asked for.
    (one,) = plan(Request(**asked, evaluations=["robust"]))
    assert [e.name for e in one.evaluations] == ["robust"]
    (small,) = plan(Request(**asked, scale=Small()))  # its autoattack judges fewer images
    assert [e.name for e in small.evaluations] == ["standard", "robust", "autoattack"]
    with pytest.raises(UserError, match="No row of table2 is left"):
        plan(Request(tables=["table2"], evaluations=["robust"]))
    with pytest.raises(UserError, match="Unknown --evaluation 'robus'"):
        plan(Request(evaluations=["robus"]))


def test_a_run_can_be_looked_up_at_its_scale():
    planned = job("cfamc_m3", scale=Small(300_000, proportional=True))
    words = looking_up(planned)
    given = command_line.request(command_line.parser().parse_intermixed_args(words[3:]))
    (found,) = plan(given)
    assert found.name == planned.name == "cfamc_m3-cifar10-small-0.3M-proportional"
    assert found.scale == planned.scale


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scale", "smal"], "Did you mean 'small'"),
        (["--passes", "10"], "belong to --scale small; got full"),
        (["--scale", "tiny", "--proportional"], "belong to --scale small; got tiny"),
        (["--scale", "small", "--passes", "0"], "--passes must be"),
    ],
)
def test_wrong_scales(words, said):
    with pytest.raises(UserError, match=said):
        command_line.request(command_line.parser().parse_intermixed_args(["table4", *words]))


def test_preset_and_further_settings_reach_the_config():
    request = {"tables": ["table4"], "rows": ["cfamc_m3"], "datasets": ["cifar10"]}
    (planned,) = plan(Request(**request, preset="reference", extra=("seed=7",)))
    cfg = planned.complete_config()
    assert planned.name == "cfamc_m3-cifar10-reference"
    assert cfg.seed == 7
    assert cfg.scheduler.name == "reference_cyclic"
    assert cfg.adversary.clamp_before_forward is False


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ((), "auto"),
        (("accelerator=cpu",), "cpu"),
        (("accelerator=gpu",), "cuda"),
        (("accelerator='cuda'",), "cuda"),
        (("accelerator=auto",), "auto"),
        (("accelerator=gpu", "++accelerator=cpu"), "cpu"),
    ],
)
def test_evaluations_use_the_accelerator_of_pretraining(told, used):
    planned = job("cfamc_m3", extra=told)
    for evaluation in EVALUATIONS.values():
        assert composed("robust", planned.judging(evaluation)).accelerator == used


def test_a_data_path_is_for_one_data_set_or_for_all():
    paths = {"cifar10": "/ten", "": "/all"}
    jobs = plan(
        Request(tables=["table4"], rows=["cfamc_m5"], data_paths=paths, data_format="parquet")
    )
    data = {j.dataset: plain(j.config().data) for j in jobs}
    assert {d: held["train_path"] for d, held in data.items()} == {
        "cifar10": "/ten",
        "cifar100": "/all",
        "imagenet100": "/all",
    }
    assert {held["format"] for held in data.values()} == {"parquet"}


# ------------------------------------------------------------------ costs

PASSES_AN_IMAGE = {
    # counted by an audit of the reference code
    "robust_emp_crop": 16 * (5 + 1) * 30,
    "cfamc_m3": 480,
    "cfamc_m5": 480,
    "cfamc_m5_18ep": 1440,
    "cfamc_m12": 1920,
    "simclr_freeadv_m3": 1002,
    "supervised_freeadv_m3": 900,
    "supervised_freeadv_m7": 2100,
    # The reference code needs 12 passes, because its attack passes the clean view in each step.
    "robust_simclr_cross": (5 + 2) * 500,  # here the clean view passes once, separately
    "robust_simclr_crop": (1 * 5 + 2) * 500,
}
UPDATES = {
    "cfamc_m3": 15_000,
    "cfamc_m5": 15_000,
    "cfamc_m5_18ep": 45_000,
    "cfamc_m12": 60_000,
    "cfamc_m7_resnet50": 31_500,
    "simclr_freeadv_m3": 48_597,
    "simclr_freeadv_m5": 48_500,
    "simclr_freeadv_m3_resnet50": 43_650,
    "simclr_freeadv_m7_resnet50": 101_850,
    "supervised_freeadv_m3": 87_300,
    "supervised_freeadv_m7": 203_700,
    "robust_simclr_crop": 48_500,
}


@pytest.mark.parametrize("row", PASSES_AN_IMAGE)
def test_crop_passes_of_an_image(row):
    assert job(row).cost().per_image == PASSES_AN_IMAGE[row]


@pytest.mark.parametrize("row", UPDATES)
def test_optimizer_updates(row):
    assert job(row).cost().updates == UPDATES[row]


def test_crop_passes_of_a_run_leave_out_the_last_incomplete_batch():
    assert job("cfamc_m3").cost().pretraining == 24_000_000
    assert job("simclr_freeadv_m3").cost().pretraining == 97 * 512 * 6 * 167


def test_attacking_one_view_of_two():
    cfg = job("robust_simclr_crop").complete_config()
    assert passes_of_batch(cfg) == 2 + 5
    cfg.adversary.views = "both"
    assert passes_of_batch(cfg) == 2 + 2 * 5
    cfg.adversary.pair = "cross"
    cfg.adversary.views = "second"
    assert passes_of_batch(cfg) == 2 + 5
    cfg.adversary.forward = "joint"
    assert passes_of_batch(cfg) == 2 + 2 * 5


def test_passes_of_an_evaluation():
    def passes(*overrides):
        return evaluation_passes(50_000, 10_000, composed("robust", overrides))

    attacks, features = 10_000 * 20 * 3, 60_000 / 3
    assert passes() == attacks + features
    assert passes("restarts=2") == 2 * attacks + features
    assert passes("linear=robust") == attacks + features + round(50_000 * 20 * (5 + 1 / 3))
    assert passes("protocol=crops", "num_crops=32") == 32 * (attacks + features)
    assert passes("max_images=100", "epsilons=[8/255]") == 100 * 20 + round(50_100 / 3)


def test_other_networks_cost_in_proportion_to_their_arithmetic():
    small, large = job("cfamc_m3", evaluations=()).cost(), job("cfamc_m3_resnet50").cost()
    assert small.relative == 1
    assert 2 < large.relative < 3
    assert small.seconds(1000) == pytest.approx(24_000)


# ------------------------------------------------------------------ command line


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["reproduce", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "150")
    try:
        command_line.main()
    except SystemExit as stop:
        return stop.code, capsys.readouterr()
    return 0, capsys.readouterr()


def test_dry_run_prints_commands_and_cost_and_runs_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ("table4", "--row", "cfamc_m5", "--dataset", "cifar10", "--dry-run")
    status, captured = command(monkeypatch, capsys, *words, "--throughput", 10_000)
    assert status == 0
    assert captured.out.count(" -m solo_adv.commands.pretrain ") == 1
    assert captured.out.count(" -m solo_adv.commands.robust ") == 2
    assert "24.00 M" in captured.out
    assert "50 min 57 s" in captured.out  # (24 + 6.6) M at 10,000 a second
    assert not list(tmp_path.iterdir())


def test_a_row_without_a_table_is_judged_as_in_all_tables():
    (found,) = plan(Request(rows=["robust_emp_patch"], datasets=["cifar10"]))
    assert [e.name for e in found.evaluations] == ["standard", "robust", "crops32"]
    (variant,) = plan(Request(rows=["robust_simclr_cross"], datasets=["cifar10"]))
    assert [e.name for e in variant.evaluations] == ["standard", "robust"]


def test_settings_can_follow_a_row_without_a_table(monkeypatch, capsys):
    words = ("--row", "cfamc_m5", "--dataset", "cifar10", "seed=6", "--dry-run")
    _, captured = command(monkeypatch, capsys, *words, "--throughput", "1")
    assert " seed=6 " in captured.out


def test_a_trained_row_is_printed_with_its_checkpoint(monkeypatch, capsys, tmp_path):
    planned = job("cfamc_m5", scale=Tiny(), directory=tmp_path, extra=("seed=6",))
    done = leave_run(planned.config(), epoch=planned.config().max_epochs - 1)
    words = ["--row", "cfamc_m5", "--dataset", "cifar10", "--scale", "tiny"]
    words += ["--directory", tmp_path, "seed=6"]
    assert command(monkeypatch, capsys, *words, "--checkpoint")[1].out == f"{done}\n"
    _, captured = command(monkeypatch, capsys, *words, "--dry-run", "--throughput", "1")
    assert "# cfamc_m5-digits (trained)" in captured.out
    assert "commands.pretrain" not in captured.out
    assert f"checkpoint='{done}'" in captured.out
    (whole,) = plan(
        Request(rows=["cfamc_m5"], datasets=["cifar10"], scale=Tiny(), extra=("seed=6",))
    )
    spent = whole.cost()
    rest = duration(spent.evaluation * spent.relative)
    assert f"What is finished already is not repeated: the rest takes {rest}." in captured.out


def test_without_a_throughput_that_of_the_runs_own_network_is_measured(monkeypatch, capsys):
    asked = []

    def measured(network):
        asked.append(network)
        return 100.0

    monkeypatch.setattr("solo_adv.cost.network.measured_throughput", measured)
    words = ("table4", "--row", "cfamc_m5", "--dataset", "cifar10", "--dry-run")
    _, captured = command(monkeypatch, capsys, *words, "--scale", "small")
    assert "100 passes a second of the network that has most to do (measured" in captured.out
    (network,) = asked
    assert '"width": 16' in network.kwargs
    spent = plan(
        Request(tables=["table4"], rows=["cfamc_m5"], datasets=["cifar10"], scale=Small())
    )[0].cost()
    assert duration((spent.pretraining + spent.evaluation) / 100) in captured.out


@pytest.mark.slow
def test_measured_throughput_is_a_rate():
    assert 0 < measured_throughput(seconds=0.0) < 1e6


MISTAKES = {
    "no table": ((), "Accepted: table1"),
    "no table but a setting": (("seed=6",), "Accepted: table1"),
    "not trained": (("--row", "cfamc_m3", "--checkpoint"), "not trained yet"),
    "unknown table": (("table7",), "table6"),
    "two tables": (("table1", "table2"), "one table"),
    "unknown row": (("table4", "--row", "cfamc_m6"), "cfamc_m5"),
    "row of another table": (("table2", "--row", "cfamc_m5"), "emp_ssl"),
    "unknown data set": (("table4", "--dataset", "cifar"), "cifar10"),
    "nothing left": (("table2", "--dataset", "imagenet100"), "No row"),
    "unknown scale": (("table4", "--scale", "huge"), "tiny"),
    "unknown preset": (("table4", "--preset", "refrence", "--dry-run"), "reference"),
    "unknown setting": (("table4", "optimiser.lr=1", "--dry-run"), "optimiser"),
    "throughput": (("table4", "--throughput", "0", "--dry-run"), "above 0"),
    "data path": (("table4", "--data-path", "svhn=/d", "--dry-run"), "cifar10"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(case, monkeypatch, capsys):
    arguments, words = MISTAKES[case]
    status, captured = command(monkeypatch, capsys, *arguments)
    assert status == 2
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert words in captured.err
