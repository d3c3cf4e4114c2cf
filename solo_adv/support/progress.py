"""Shows how far something has come: with a bar on a terminal or in a notebook, else with lines."""

import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

T = TypeVar("T")
BAR_AFTER_SECONDS = 1.0
LINE_EVERY_SECONDS = 30.0
_COLUMNS_BESIDE_BAR = 55
_COLUMNS_FOR_TIME_PASSED = 60


def track(items: Iterable[T], stage: str, total: int) -> Iterator[T]:
    """Yield the ``total`` items and show on stderr how long the rest will take.

    Only the first of several processes shows it.

    Args:
        items: what to yield.
        stage: what is being done, in words.
        total: number of items.
    """
    from solo_adv.support.processes import rank  # noqa: PLC0415  imports torch

    if rank() > 0:
        return iter(items)
    if in_notebook():
        bar = _tqdm(items, desc=stage, total=total, leave=False, delay=BAR_AFTER_SECONDS)
        return iter(bar)
    show = _bar if sys.stderr.isatty() else _lines
    return show(items, stage, total)


class Bar(Protocol):
    """A bar that is moved by hand."""

    def show(self, done: int, description: str, figures: str) -> None:
        """Move the bar to ``done``, with words before it and figures behind it."""

    def stop(self) -> None:
        """Leave the bar as it is."""


def open_bar(total: int, done: int) -> Bar | None:
    """A bar on stderr from 0 to ``total``; None where no bar can be shown, as in a log file."""
    if in_notebook():
        return _NotebookBar(total, done)
    return _TerminalBar(total, done) if sys.stderr.isatty() else None


def in_notebook() -> bool:
    """Whether this runs in a Jupyter notebook, which shows no bar of a terminal."""
    return "IPython" in sys.modules and Console().is_jupyter


class _TerminalBar:
    def __init__(self, total: int, done: int) -> None:
        self._bar = _new_bar(transient=False)
        self._task = self._bar.add_task("", total=total, figures="", completed=done)
        self._bar.start()

    def show(self, done: int, description: str, figures: str) -> None:
        self._bar.update(self._task, completed=done, description=description, figures=figures)

    def stop(self) -> None:
        self._bar.stop()


class _NotebookBar:
    def __init__(self, total: int, done: int) -> None:
        self._bar = _tqdm(total=total, initial=done)

    def show(self, done: int, description: str, figures: str) -> None:
        self._bar.set_description(description, refresh=False)
        self._bar.set_postfix_str(figures, refresh=False)
        self._bar.update(done - self._bar.n)

    def stop(self) -> None:
        self._bar.close()


def _tqdm(*args: Any, **kwargs: Any) -> Any:
    """A bar of tqdm: a widget where the notebook has ipywidgets, otherwise text."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm  # noqa: PLC0415
    return tqdm(*args, **kwargs)


class _Progress(Progress):
    """A bar with figures on lines of their own below it, so that none is cut off."""

    def get_renderable(self) -> RenderableType:
        below = [Text(figures) for task in self.tasks if (figures := task.fields.get("figures"))]
        return Group(super().get_renderable(), *below)


def _new_bar(*, transient: bool = True) -> Progress:
    """A bar on stderr that shows what is done, how much of it, and the time passed and left.

    In a narrow terminal the bar is shorter, and the time passed is left out.

    Args:
        transient: whether the bar disappears at the end.
    """
    console = Console(stderr=True)
    whole = Column(no_wrap=True)
    passed = [TimeElapsedColumn()] if console.width >= _COLUMNS_FOR_TIME_PASSED else []
    return _Progress(
        TextColumn("{task.description}", table_column=Column(overflow="fold")),
        BarColumn(max(4, min(40, console.width - _COLUMNS_BESIDE_BAR))),
        MofNCompleteColumn(table_column=whole),
        *passed,
        TextColumn("left:"),
        TimeRemainingColumn(table_column=whole),
        console=console,
        transient=transient,
    )


def _bar(items: Iterable[T], stage: str, total: int) -> Iterator[T]:
    progress = _new_bar()
    task = progress.add_task(stage, total=total)
    begun = time.monotonic()
    try:
        for item in items:
            yield item
            progress.advance(task)
            if not progress.live.is_started and time.monotonic() - begun > BAR_AFTER_SECONDS:
                progress.start()
    finally:
        progress.stop()


def _lines(items: Iterable[T], stage: str, total: int) -> Iterator[T]:
    begun = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last > LINE_EVERY_SECONDS and done < total:
            last = now
            left = (now - begun) / done * (total - done)
            say(f"{stage}: {done} of {total}, about {duration(left)} left")


@dataclass
class Stages:
    """Reports on stderr when each stage of an evaluation is done, and records its wall time."""

    quiet: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Context that times a stage and reports it."""
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 3)
        self.say(name, self.seconds[name])

    def say(self, name: str, seconds: float, *outcome: str) -> None:
        """Print what was done, the outcome, and how long it took, unless ``quiet``."""
        if not self.quiet:
            say(f"{name}: {', '.join([*outcome, duration(seconds)])}")


def duration(seconds: float) -> str:
    """Seconds as text, in the two largest units that fit: ``2 h 5 min``, ``4.2 s``."""
    if round(seconds) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days:,} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def say(line: str) -> None:
    """Print a line on stderr at once."""
    print(line, file=sys.stderr, flush=True)
