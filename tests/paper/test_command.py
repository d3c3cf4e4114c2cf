"""``python -m solo_adv.paper`` prints tables, or one line for a mistake."""

import sys

import pytest

from solo_adv.paper.__main__ import main


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys, "argv", ["paper", *arguments])
    main()
    return capsys.readouterr().out


def test_prints_a_table_with_its_marks_explained(monkeypatch, capsys):
    out = run(monkeypatch, capsys, "table6")
    row = next(line for line in out.splitlines() if "cfamc_m3 " in line)
    assert "51.52" in row
    letter = row.split("6.59 ")[1][0]
    assert f"\n{letter}  above_pgd: " in out
    assert "table1" not in out


def test_prints_all_tables(monkeypatch, capsys):
    out = run(monkeypatch, capsys)
    assert all(f"table{number}: " in out for number in range(1, 7))


def test_an_unknown_table_is_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, capsys, "table7")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "table6" in error
