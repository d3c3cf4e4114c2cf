"""The comparison of heads: what is missing is judged, and the published AutoAttack is found."""

import json

from benchmarks import heads
from benchmarks.record import RESULTS
from solo_adv.catalogue import index


def test_the_command_judges_what_is_missing(tmp_path, monkeypatch, capsys):
    output = tmp_path / "heads.json"
    arguments = ["--model", "cfamc_resnet10w16_digits_m3", "--test-images", "40"]
    arguments += ["--output", str(output), "--penalties"]
    monkeypatch.setattr("sys.argv", ["heads", *arguments, "1e-2"])
    heads.main()
    first, robust = json.loads(output.read_text())["rows"]
    assert [row["head"] for row in (first, robust)] == ["penalty 0.01", heads.ROBUST]
    assert robust["clean"] > 60
    for row in (first, robust):
        assert row["both_losses"] <= row["cross_entropy"] <= row["clean"]
        assert 0.1 < row["mean_probability"] <= 1
    monkeypatch.setattr("sys.argv", ["heads", *arguments, "1e-2", "10"])
    heads.main()
    *same, last = json.loads(output.read_text())["rows"]
    assert same == [first, robust]
    assert last["mean_probability"] < first["mean_probability"]
    assert capsys.readouterr().out.count("| penalty 0.01 |") == 3


def test_autoattack_is_that_of_the_reports_on_as_many_images():
    entry = index.find(heads.MODEL)
    assert heads.autoattack(entry, "robust", 1_000) == 26.7
    assert heads.autoattack(entry, "robust", 999) is None


def test_the_table_in_the_docs_is_that_of_the_result_file():
    rows = json.loads((RESULTS / "heads.json").read_text())["rows"]
    text = (RESULTS.parents[1] / "docs/benchmark.md").read_text()
    assert heads.table(rows) in text
