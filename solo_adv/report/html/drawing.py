"""Draws a plot as inline SVG. The page's style sheet colours its parts by their class."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil, floor
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

WIDTH, HEIGHT = 560, 380
LEFT, RIGHT, TOP, BOTTOM = 52, 18, 14, 48
SIZE = 5.5
"""Half the width of a point's mark."""
_STEPS = (1, 2, 5, 10, 20, 25, 50)


class Plot:
    """A plot with linear axes, to which lines and points are added.

    Args:
        description: what the plot shows, for readers who do not see it.
        x: smallest and largest value of the horizontal axis.
        y: smallest and largest value of the vertical axis.
    """

    def __init__(self, description: str, *, x: tuple[float, float], y: tuple[float, float]) -> None:
        box = f"0 0 {WIDTH} {HEIGHT}"
        label = {"viewBox": box, "role": "img", "aria-label": description, "class": "plot"}
        self._root = Element("svg", label)
        self._parent = self._root
        self._x, self._y = x, y

    @property
    def svg(self) -> Markup:
        """The plot as markup for a page."""
        return Markup(tostring(self._root, encoding="unicode"))

    def x_axis(self, ticks: Mapping[float, str], label: str) -> None:
        """Draw the horizontal axis; ``ticks`` are the texts at their values."""
        for value, text in ticks.items():
            place = self._across(value)
            self._line(place, TOP, place, HEIGHT - BOTTOM, "grid")
            self._text(place, HEIGHT - BOTTOM + 17, text, "tick middle")
        self._line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, "axis")
        self._text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, label, "label middle")

    def y_axis(self, ticks: Mapping[float, str], label: str) -> None:
        """Draw the vertical axis; ``ticks`` are the texts at their values."""
        for value, text in ticks.items():
            place = self._up(value)
            self._line(LEFT, place, WIDTH - RIGHT, place, "grid")
            self._text(LEFT - 7, place + 4, text, "tick end")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        turned = self._text(14, middle, label, "label middle")
        turned.set("transform", f"rotate(-90 14 {middle:.1f})")

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Join points by a line. ``kind`` is its class in the style sheet."""
        places = " ".join(f"{self._across(x):.1f},{self._up(y):.1f}" for x, y in points)
        SubElement(self._parent, "polyline", {"points": places, "class": f"line {kind}"})

    def error(self, x: float, low: float, high: float, kind: str) -> None:
        """Draw a vertical bar from ``low`` to ``high``."""
        self._line(self._across(x), self._up(low), self._across(x), self._up(high), f"bar {kind}")

    @contextmanager
    def group(self, row: str) -> Iterator[None]:
        """Everything that is drawn inside belongs to a row of the page's table; empty: to none."""
        self._parent = SubElement(self._root, "g", {"data-of": row} if row else {})
        try:
            yield
        finally:
            self._parent = self._root

    def point(self, x: float, y: float, kind: str, tooltip: str, *, shape: str = "circle") -> None:
        """Mark a point. ``shape`` is ``circle``, ``square`` or ``diamond``."""
        mark = self._mark(self._across(x), self._up(y), f"point {kind}", shape)
        SubElement(mark, "title").text = tooltip

    def note(self, x: float, y: float, text: str, kind: str, *, below: bool = False) -> None:
        """Write a text beside a point: right above it, or left below it."""
        right, down = (-8, 16) if below else (8, -7)
        anchor = "end" if below else "start"
        self._text(self._across(x) + right, self._up(y) + down, text, f"note {kind} {anchor}")

    def key(self, entries: Sequence[tuple[str, str, str]], *, line: bool) -> None:
        """Explain the marks at the top right.

        Args:
            entries: for each its text, its class and its shape.
            line: whether the marks stand on a line.
        """
        width = max((len(text) for text, _, _ in entries), default=0) * 6.6 + 44
        for number, (text, kind, shape) in enumerate(entries):
            left, middle = WIDTH - RIGHT - width, TOP + 14 + 19 * number
            if line:
                self._line(left, middle, left + 26, middle, f"line {kind}")
            if shape:
                self._mark(left + 13, middle, f"point {kind}", shape)
            self._text(left + 34, middle + 4, text, "key start")

    def _across(self, x: float) -> float:
        low, high = self._x
        return LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def _up(self, y: float) -> float:
        low, high = self._y
        return HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    def _line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
        place = {name: f"{value:.1f}" for name, value in ends.items()}
        SubElement(self._parent, "line", {**place, "class": kind})

    def _text(self, x: float, y: float, text: str, kind: str) -> Element:
        element = SubElement(
            self._parent, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": kind}
        )
        element.text = text
        return element

    def _mark(self, x: float, y: float, kind: str, shape: str) -> Element:
        if shape == "circle":
            place = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{SIZE}"}
            return SubElement(self._parent, "circle", {**place, "class": kind})
        place = {"x": f"{x - SIZE:.1f}", "y": f"{y - SIZE:.1f}"}
        place |= {"width": f"{2 * SIZE}", "height": f"{2 * SIZE}", "class": kind}
        if shape == "diamond":
            place["transform"] = f"rotate(45 {x:.1f} {y:.1f})"
        return SubElement(self._parent, "rect", place)


def percent_ticks(values: Sequence[float]) -> tuple[tuple[float, float], dict[float, str]]:
    """An axis in percent that holds the values with some room on both sides.

    Returns:
        The smallest and largest value of the axis, and its ticks.
    """
    low, high = min(values), max(values)
    room = max(1.0, 0.08 * (high - low))
    low, high = max(0.0, low - room), min(100.0, high + room)
    step = next((step for step in _STEPS if (high - low) / step <= 7), _STEPS[-1])
    first, last = floor(low / step), ceil(high / step)
    ticks = {float(step * tick): f"{step * tick}" for tick in range(first, last + 1)}
    return (first * step, last * step), ticks
