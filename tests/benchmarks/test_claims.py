"""The page on the paper's claims: what it takes from runs, what it decides, and that it is kept."""

import json
import math

import pytest

from benchmarks import claims
from benchmarks.claims import (
    CLAIMS,
    NAME,
    Claim,
    Measured,
    Side,
    budgets,
    measured,
    printed_pair,
    verdict,
)
from benchmarks.record import RESULTS
from solo_adv import UserError
from solo_adv.methods import MIXINS
from solo_adv.reproduce.plan import EVALUATIONS, ROWS, Job
from solo_adv.reproduce.scales import Small
from tests.report.reports import make_report, measurement

CLAIM = Claim("a", Side("cfamc_m3"), Side("robust_emp_crop"), "clean")


def row(name="cfamc_m3", correct=500, **changes):
    held = {
        "row": name,
        "dataset": "cifar10",
        "budget": 1_000_000,
        "series": "equal",
        "preset": None,
        "seed": 5,
        "evaluation": "standard",
        "crop_passes": 999_000,
        "precision": "32-true",
        "figures": {"clean": [correct, 1000]},
    }
    return {**held, **changes}


@pytest.mark.parametrize(("proportional", "preset"), [(False, None), (True, "reference")])
def test_names_are_those_of_runs(proportional, preset):
    scale = Small(1_500_000, proportional)
    job = Job(row=ROWS["cfamc_m3"], dataset="cifar10", evaluations=(), scale=scale, preset=preset)
    named = NAME.fullmatch(job.name)
    assert (named["row"], named["dataset"], named["millions"]) == ("cfamc_m3", "cifar10", "1.5")
    assert (bool(named["series"]), named["preset"]) == (proportional, preset)
    assert NAME.fullmatch("cfamc_m3-digits") is None


def test_claims_are_about_rows_and_evaluations_that_exist():
    for claim in CLAIMS:
        for side in claim.sides:
            assert side.row in ROWS
            assert side.evaluation in EVALUATIONS


MILLION = 1_000_000


def test_the_mean_and_its_error():
    rows = [row(correct=600, seed=1), row(correct=500, seed=2), row("simclr", 900)]
    found = measured(rows, Side("cfamc_m3"), CLAIM, MILLION)
    assert found.value == pytest.approx(55)
    assert found.error == pytest.approx(100 * 0.1 / 2)  # of two values 10 points apart
    assert found.seeds == 2
    one = measured([row(correct=360)], Side("cfamc_m3"), CLAIM, MILLION)
    assert one.error == pytest.approx(100 * math.sqrt(0.36 * 0.64 / 1000))
    assert measured(rows, Side("cfamc_m3"), CLAIM, 500_000) is None


def test_the_largest_budget_that_both_sides_have_counts():
    small = row(correct=100, budget=500_000)
    against = row("robust_emp_crop", 300, budget=500_000)
    assert budgets([small, row(), against], CLAIM) == [500_000]
    assert measured([small, row()], CLAIM.first, CLAIM, 500_000).value == pytest.approx(10)
    assert budgets([small, row()], CLAIM) == [MILLION]  # the other side was not run
    assert budgets([], CLAIM) == [0]
    other = row("robust_emp_crop", 700, series="proportional")
    assert measured([other], CLAIM.second, CLAIM, MILLION) is None
    assert measured([row(preset="reference")], CLAIM.first, CLAIM, MILLION) is None
    proportional = Claim("a", Side("cfamc_m3"), CLAIM.second, "clean", "proportional")
    assert measured([other], CLAIM.second, proportional, MILLION).value == pytest.approx(70)
    # the row by which proportional budgets are measured has the same budget in both series
    assert measured([row()], CLAIM.first, proportional, MILLION).value == pytest.approx(50)
    assert budgets([row(), other], proportional) == [MILLION]


def test_a_smaller_budget_with_more_seeds_counts_too():
    def rows(budget, *seeds):
        names = ("cfamc_m3", "robust_emp_crop")
        return [row(name, budget=budget, seed=seed) for name in names for seed in seeds]

    large, small, smallest = rows(MILLION, 5), rows(500_000, 5, 6, 7), rows(250_000, 5, 6)
    assert budgets([*smallest, *large, *small], CLAIM) == [MILLION, 500_000]
    assert budgets([*smallest, *rows(MILLION, 5, 6)], CLAIM) == [MILLION]
    uneven = [*large, *small[:4]]  # the other side has one seed there
    assert budgets(uneven, CLAIM) == [MILLION]


def test_runs_of_different_budgets_are_not_compared():
    rows = [row(), row("robust_emp_crop", 300, budget=250_000)]
    assert budgets(rows, CLAIM) == [0]
    found = [measured(rows, side, CLAIM, 0) for side in CLAIM.sides]
    assert found == [None, None]
    assert verdict(CLAIM, found) == "not run"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Measured(60, 1, 1), Measured(50, 1, 1), "**holds**"),
        (Measured(50, 1, 1), Measured(60, 1, 1), "**does not hold**"),
        (Measured(52.8, 1, 1), Measured(50, 1, 1), "open"),  # 2 * sqrt(2) = 2.83
        (Measured(52.9, 1, 1), Measured(50, 1, 1), "**holds**"),
        (None, Measured(50, 1, 1), "not run"),
        (Measured(50, 1, 1), None, "not run"),
    ],
)
def test_verdicts(first, second, expected):
    assert verdict(CLAIM, [first, second]) == expected


def test_a_verdict_against_a_limit():
    claim = Claim("a", Side("emp_ssl"), None, "PGD-20 at 8/255", limit=5)
    assert verdict(claim, [Measured(0.1, 0.1, 1)]) == "**holds**"
    assert verdict(claim, [Measured(9, 1, 1)]) == "**does not hold**"
    assert verdict(claim, [None]) == "not run"


def test_what_the_paper_prints_is_of_one_head_if_it_can_be():
    """The figures are those of Tables 1 to 4, read from the paper by eye."""
    told = {(claim.text, claim.label): printed_pair(claim) for claim in CLAIMS}
    many = "Many crops make up for epochs: under PGD-5, 16 crops are ahead of 2"
    assert told[many, "clean"] == "80.72 (standard) against 84.24 (standard)"
    patches = "Crops are ahead of patches of one scale: CF-AMC-SSL"
    assert told[patches, "PGD-20 at 8/255"] == "33.34 (robust) against 21.53 (robust)"
    head = "A robust head (r-LE) is ahead of a standard one: robust EMP-SSL"
    assert told[head, "PGD-20 at 8/255"] == "28.49 (robust) against 8.95 (standard)"
    crops = "The mean of 32 crops is ahead of the whole image, without an attack: EMP-SSL"
    assert told[crops, "clean"] == "92.85 (standard) against 75.02 (standard)"


@pytest.mark.parametrize("name", sorted({m.objective_class.name for m in MIXINS.values()}))
def test_the_loss_of_every_objective_is_found_among_a_runs_metrics(name, tmp_path):
    columns = [
        "step",
        "train_class_loss_step",
        f"train_{name}_loss_epoch",
        f"train_{name}_loss_step",
    ]
    file = tmp_path / "metrics.csv"
    file.write_text(f"{','.join(columns)}\n9,2.3,,4.5\n19,2.2,4.1,\n")
    assert claims.thinned(file) == [["step", f"{name}_loss"], ["9", "4.5"]]


@pytest.fixture
def runs(tmp_path):
    """A directory as reproduce leaves it, with one run at small scale and one on digits."""
    version = tmp_path / "trained_models/x"
    version.mkdir(parents=True)
    rows = [f"{step},2,{-step / 10}," if step % 2 == 0 else f"{step},,,50" for step in range(500)]
    lines = ["step,train_class_loss_step,train_emp_loss_step,train_emp_loss_epoch", *rows]
    (version / "metrics.csv").write_text("\n".join(lines) + "\n")
    report = make_report(
        checkpoint=str(version / "a.ckpt"),
        measurements=[measurement("clean", 0.5), measurement("PGD-20", 0.25, 8)],
        pretrain_config={"seed": 3, "precision": "32-true"},
    )
    for name in ("cfamc_m3-cifar10-small-0.5M", "cfamc_m3-digits"):
        place = tmp_path / f"results/{name}/standard/cfamc/v/h"
        place.mkdir(parents=True)
        (place / "report.json").write_text(json.dumps(report.to_dict()))
    return tmp_path


def test_runs_are_taken_in_and_the_page_is_written(runs, monkeypatch, capsys):
    docs = runs / "docs"
    docs.mkdir()
    arguments = ["--from", runs, "--results", runs / "kept", "--docs", docs]
    monkeypatch.setattr("sys.argv", ["claims", *map(str, arguments)])
    claims.main()
    (found,) = claims.held_rows(runs / "kept/small.json")
    assert (found["row"], found["budget"], found["seed"]) == ("cfamc_m3", 500_000, 3)
    assert found["figures"] == {"clean": [500, 1000], "PGD-20 at 8/255": [250, 1000]}
    curve = (runs / "kept/small/cfamc_m3-cifar10-small-0.5M-seed3.csv").read_text().splitlines()
    assert curve[:2] == ["step,emp_loss", "0,0.0"]
    assert 50 < len(curve) <= 101
    text = (docs / "results.md").read_text()
    assert "25.0 ± 1.4 against -" in text
    assert (docs / "results.png").stat().st_size > 1000
    claims.main()
    assert len(claims.held_rows(runs / "kept/small.json")) == 1
    assert "of 1 measured rows" in capsys.readouterr().out


def test_a_directory_without_such_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="no report of a run at small scale below"):
        claims.taken(tmp_path)


def test_the_page_in_the_docs_is_the_one_that_is_written():
    rows = claims.held_rows(RESULTS / "small.json")
    drawn = claims.held_curves(RESULTS / claims.CURVES)
    assert (claims.DOCS / "results.md").read_text() == claims.page(rows, bool(drawn))
