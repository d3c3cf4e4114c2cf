"""Print the paper's tables: ``python -m solo_adv.paper [table4 ...]``."""

import argparse

from rich.console import Console
from rich.table import Table as Screen

from solo_adv.adversaries import Ball
from solo_adv.paper.tables import DATASETS, MODELS, PAPER_NORM, TABLES, Figure, Mark, Table
from solo_adv.support.checks import choice
from solo_adv.support.cli import user_errors
from solo_adv.support.terminal import print_table

KEYS = ("row", "evaluation")
"""The columns that say what a line is."""


def screens(table: Table) -> list[Screen]:
    """One terminal table for each data set; a marked figure is red and has a letter."""
    letters = _letters(table)
    found = []
    for dataset in DATASETS:
        lines = _lines(table, dataset)
        if not lines:
            continue
        screen = Screen(title=f"{table.name}: {table.title}, {dataset}", title_justify="left")
        for heading in KEYS:
            screen.add_column(heading)
        for epsilon in table.epsilons:
            attack = table.attack.replace("AutoAttack", "AA")
            heading = f"{attack} {Ball(PAPER_NORM, epsilon).text}" if epsilon else "clean"
            screen.add_column(heading, justify="right")
        timed = dataset != "imagenet100" and any(f.quantity == "minutes" for f in table.figures)
        if timed:
            screen.add_column("minutes", justify="right")
        screen.add_column("model")
        for (row, evaluation), cells in lines.items():
            minutes = [f for f in table.figures if f.row == row and f.quantity == "minutes"]
            texts = [_text(figure, letters) for figure in [*cells, *(minutes if timed else [])]]
            screen.add_row(row, evaluation, *texts, MODELS[row].label)
        found.append(screen)
    return found


def notes(table: Table) -> list[str]:
    """The explanations of a table's letters."""
    return [f"{letter}  {mark.kind}: {mark.reason}" for mark, letter in _letters(table).items()]


def _lines(table: Table, dataset: str) -> dict[tuple[str, str], list[Figure]]:
    lines: dict[tuple[str, str], list[Figure]] = {}
    for figure in table.figures:
        if figure.dataset == dataset:
            head = {"robust": "r-LE", None: "not stated"}.get(figure.head, figure.head)
            what = head if figure.protocol == "central" else f"{head}, {figure.num_crops} crops"
            lines.setdefault((figure.row, str(what)), []).append(figure)
    return lines


def _letters(table: Table) -> dict[Mark, str]:
    marks = dict.fromkeys(f.mark for f in table.figures if f.mark is not None)
    return {mark: chr(ord("a") + number) for number, mark in enumerate(marks)}


def _text(figure: Figure, letters: dict[Mark, str]) -> str:
    text = f"{figure.value:g}" if figure.quantity == "minutes" else f"{figure.value:.2f}"
    return text if figure.mark is None else f"[red]{text} {letters[figure.mark]}[/red]"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="The paper's tables, as printed.")
    known = ", ".join(TABLES)
    parser.add_argument("tables", nargs="*", metavar="table", help=f"{known}; default: all")
    names = parser.parse_args().tables or list(TABLES)
    with user_errors():
        for name in names:
            choice("table", name, TABLES)
        console = Console()
        for name in names:
            for screen in screens(TABLES[name]):
                print_table(screen, keys=len(KEYS), console=console)
            for note in notes(TABLES[name]):
                console.print(f"[red]{note}[/red]", highlight=False)
            console.print()


if __name__ == "__main__":
    main()
