"""The schedule of an attack's strength, against what each number should be."""

import pytest
import torch

from solo_adv.adversaries import PGD, AttackSchedule, Free
from solo_adv.support.errors import UserError


def test_the_ramp_rises_from_nothing_to_full_strength():
    schedule = AttackSchedule(ramp=0.5)
    assert [schedule.strength(p) for p in (0.0, 0.125, 0.25, 0.5, 1.0)] == [0, 0.25, 0.5, 1, 1]
    assert AttackSchedule().strength(0.0) == 1.0


def test_late_steps_begin_where_they_should():
    schedule = AttackSchedule(late_steps=2, late_from=0.5)
    assert [schedule.extra_steps(p) for p in (0.0, 0.49, 0.5, 1.0)] == [0, 0, 2, 2]
    assert list(schedule.parts()) == [(0.5, 0.0), (0.5, 0.5)]
    assert list(AttackSchedule().parts()) == [(1.0, 0.0)]
    assert list(AttackSchedule(late_steps=1, late_from=0.0).parts()) == [(1.0, 0.0)]


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.7])
def test_pgd_stays_in_the_ball_of_the_moment(progress):
    adversary = PGD("8/255", "4/255", 3, random_start=True)
    adversary.schedule, adversary.progress = AttackSchedule(ramp=0.5), progress
    crops = torch.full((2, 3, 4, 4), 0.5)
    delta = adversary.perturb(crops, lambda x: x.sum())
    radius = 8 / 255 * min(1.0, progress / 0.5)
    assert delta.max().item() == pytest.approx(radius, abs=1e-8)  # the gradient is 1 everywhere


def test_late_steps_are_passes_of_the_network():
    adversary = PGD("8/255", "1/255", 2)
    adversary.schedule = AttackSchedule(late_steps=3, late_from=0.5)
    crops, calls = torch.full((1, 3, 4, 4), 0.5), []

    def loss(x):
        calls.append(1)
        return x.sum()

    for adversary.progress, passes in ((0.0, 2), (0.5, 5)):
        calls.clear()
        delta = adversary.perturb(crops, loss)
        assert len(calls) == adversary.crafting_passes == passes
        assert delta.max().item() == pytest.approx(passes / 255)


def test_free_training_ascends_from_what_it_carries():
    adversary = Free("8/255", "1/255", 2)
    adversary.schedule, adversary.progress = AttackSchedule(late_steps=2, late_from=0.5), 0.5
    crops = torch.full((1, 3, 4, 4), 0.5)
    assert adversary.crafting_passes == 4  # two steps before each of two replays
    for expected in (2, 5):  # two steps, one of the update, two steps
        delta = adversary.perturb(crops, lambda x: x.sum())
        assert delta.requires_grad
        assert delta.max().item() == pytest.approx(expected / 255)
        (crops + delta).sum().backward()
        adversary.update(crops, delta)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ramp": 1.5}, "ramp"),
        ({"ramp": "long"}, "ramp"),
        ({"late_steps": -1}, "late_steps"),
        ({"late_steps": 1.5}, "late_steps"),
        ({"late_from": 2}, "late_from"),
    ],
)
def test_wrong_values_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        AttackSchedule(**wrong)
