"""A profile's table counts every moment for exactly one part, which is the innermost."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks.counting import Counting
from benchmarks.profile import MARK, PARTS, STEP, by_part, synchronising


def event(name, start, end):
    """Make a mark from ``start`` to ``end``, in microseconds."""
    time_range = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(
        name=name, time_range=time_range, device_type=SimpleNamespace(name="CPU")
    )


EVENTS = [
    event(STEP + "2", 0, 1000),
    event(MARK + "other", 100, 900),
    event(MARK + "crops", 110, 160),
    event(MARK + "adversary", 200, 500),
    event(MARK + "network forward", 210, 300),
    event(MARK + "network backward", 310, 460),
    event(MARK + "network forward", 520, 620),
    event(MARK + "optimiser", 700, 750),
    event("aten::item", 720, 721),
    event("aten::item", 950, 951),  # Lightning's own call, outside our step
    event(MARK + "crops", 1500, 1600),  # outside the measured steps
]


def test_each_moment_counts_once():
    seconds, steps = by_part(EVENTS)
    assert steps == [pytest.approx(1e-3)]
    assert sum(seconds.values()) == pytest.approx(1e-3)
    expected = {
        "Lightning": 200,
        "crops": 50,
        "adversary": 300 - 90 - 150,
        "network forward": 190,
        "network backward": 150,
        "optimiser": 50,
        "other": 800 - 50 - 300 - 100 - 50,
        "loss": 0,
        "logging": 0,
    }
    assert {part: round(1e6 * seconds[part]) for part in PARTS} == expected


def test_the_order_of_events_does_not_matter():
    assert by_part(EVENTS[::-1]) == by_part(EVENTS)


def test_waiting_calls_are_those_of_our_step():
    assert synchronising(EVENTS) == {"aten::item": 1}


def test_images_are_counted_forward_and_backward():
    net = Counting(torch.nn.Linear(4, 2)).eval()
    with torch.no_grad():
        net(torch.zeros(5, 4))
    images = torch.zeros(3, 4, requires_grad=True)
    torch.autograd.grad(net(images).sum(), images)
    assert net.counts == {"forward_images": 8, "backward_images": 3, "passes": 11, "calls": 2}
    net.restart()
    assert net.counts["passes"] == 0
