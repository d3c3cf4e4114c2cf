"""Tables fit a terminal of any width, and no column, row or figure is lost."""

import io
import itertools
import re

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from solo_adv.support.terminal import print_table

NAMES = ["cfamc_m3_patch", "supervised_freeadv_m7", "emp_ssl"]
HEADS = ["clean", "PGD-20 4/255", "PGD-20 16/255", "minutes"]
FIGURES = [[f"{column + 10 * row}.{row}{column}" for column in range(4)] for row in range(3)]


def table() -> Table:
    made = Table(title="Accuracy under attack", title_justify="left")
    made.add_column("row")
    for head in HEADS:
        made.add_column(head, justify="right")
    for name, figures in zip(NAMES, FIGURES, strict=True):
        made.add_row(name, *figures)
    return made


def printed(monkeypatch, width: int | None) -> list[str]:
    out = io.StringIO()
    if width is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(width))
    print_table(table(), console=Console(file=out))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", range(26, 100, 3))
def test_nothing_is_lost_at_any_width(monkeypatch, width):
    lines = printed(monkeypatch, width)
    assert max(cell_len(line) for line in lines) <= width
    text = "".join(lines)
    assert "…" not in text
    for figure in itertools.chain(*FIGURES):
        assert text.count(f" {figure} ") == 1
    words = re.sub(r"[^\w/-]+", " ", text).split()
    for head in HEADS:
        assert all(word in words for word in head.split())
    blocks = text.count("┏")
    if width >= 45:  # narrower ones break the name
        assert text.count(NAMES[0]) == blocks


def test_a_narrow_table_repeats_its_first_column_below(monkeypatch):
    text = "\n".join(printed(monkeypatch, 50))
    assert text.count("┏") == 2
    assert text.count("cfamc_m3_patch") == 2
    assert text.count("Accuracy under attack") == 1


def test_a_file_gets_the_table_in_its_own_width(monkeypatch):
    lines = printed(monkeypatch, None)
    (row,) = [line for line in lines if "supervised_freeadv_m7" in line]
    assert all(figure in row for figure in FIGURES[1])
    assert any("PGD-20 16/255" in line for line in lines)
