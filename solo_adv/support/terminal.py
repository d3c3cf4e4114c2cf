"""Prints tables that fit the terminal: columns get narrower or move below, and none is lost."""

import os
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

UNLIMITED = 10_000
_PADDING = 3
"""A column's two spaces and its line."""


def print_table(table: Table, *, keys: int = 1, console: Console | None = None) -> None:
    """Print a table in the width of the terminal, or of ``COLUMNS``; in a file as wide as it is.

    Args:
        table: what to print. Columns that are justified to the right hold figures, which are never
            broken.
        keys: number of first columns that say what a row is. They are repeated where columns that
            do not fit stand in a table of their own below.
        console: where to print; None: standard output.
    """
    console = console or Console()
    limited = console.is_terminal or "COLUMNS" in os.environ
    width = console.width if limited else UNLIMITED
    try:
        for part in parts(table, console, width, keys):
            console.width = UNLIMITED  # the widths of the columns are settled
            console.print(part)
            console.width = width
    finally:
        console.width = width


def parts(table: Table, console: Console, width: int, keys: int) -> Iterator[Table]:
    """Divide a table into tables that are at most ``width`` wide, each with the key columns."""
    ranges = [_range(column, console, longest=width // 3) for column in table.columns]
    blocks: list[list[int]] = [list(range(keys))]
    for number in range(keys, len(ranges)):
        least = [ranges[n].minimum for n in [*blocks[-1], number]]
        if _whole(least) > width and len(blocks[-1]) > keys:
            blocks.append(list(range(keys)))
        blocks[-1].append(number)
    for number, block in enumerate(blocks):
        yield _part(table, block, _widths([ranges[n] for n in block], width), titled=number == 0)


def _range(column: Column, console: Console, longest: int) -> Measurement:
    """The least and the greatest width that a column's texts need.

    Words of more than ``longest`` characters are broken, but no figures.
    """
    wide = console.options.update(width=UNLIMITED)
    cells = [Measurement.get(console, wide, cell) for cell in column.cells]
    head = Measurement.get(console, wide, column.header)
    most = max(m.maximum for m in [head, *cells])
    if column.justify == "right":
        return Measurement(max([head.minimum, *(m.maximum for m in cells)]), most)
    return Measurement(min(longest, max(m.minimum for m in [head, *cells])), most)


def _widths(ranges: Sequence[Measurement], width: int) -> list[int]:
    """Widths of columns: as wide as their texts, or narrower in turn, the widest first."""
    widths = [found.maximum for found in ranges]
    while _whole(widths) > width:
        wider = [n for n, found in enumerate(ranges) if widths[n] > found.minimum]
        if not wider:
            break
        widths[max(wider, key=lambda n: widths[n])] -= 1
    return widths


def _whole(widths: Sequence[int]) -> int:
    return sum(widths) + _PADDING * len(widths) + 1


def _part(table: Table, block: Sequence[int], widths: Sequence[int], *, titled: bool) -> Table:
    part = Table(
        title=table.title if titled else None,
        title_justify=table.title_justify,
        show_lines=table.show_lines,
    )
    for number, width in zip(block, widths, strict=True):
        column = table.columns[number]
        part.add_column(column.header, justify=column.justify, width=width, overflow="fold")
    cells = [list(table.columns[number].cells) for number in block]
    for row, texts in zip(table.rows, zip(*cells, strict=True), strict=True):
        part.add_row(*texts, style=row.style, end_section=row.end_section)
    return part
