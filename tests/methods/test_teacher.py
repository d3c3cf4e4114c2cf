"""Teachers, which are a frozen checkpoint or the averaged weights, and what is refused."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import pytest
import torch
from torch import Tensor

from solo_adv import METHODS, UserError
from solo_adv.adversaries import PGD
from solo_adv.host.standalone import StandaloneMethod
from solo_adv.methods import AdversarialMethod
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.objectives import Objective


class Loss(NamedTuple):
    total: Tensor


SHOWN = []


@dataclass(frozen=True, kw_only=True)
class Compare(Objective):
    name: ClassVar[str] = "compare"
    needs_teacher: ClassVar[bool] = True

    def __call__(self, update):
        SHOWN.append(update)
        return Loss(update.z.square().sum(-1).mean() - update.z.sum(-1).mean())


class Compared(AdversarialMethod):
    objective_class = Compare
    adversary_class = PGD
    default_attacked_views = AttackedViews(views="twins")


@pytest.fixture
def compare(build, monkeypatch):
    """A function that builds a method with a teacher and changed settings."""
    method = type("Compared", (Compared, StandaloneMethod), {})
    monkeypatch.setitem(METHODS, "compare", method)
    SHOWN.clear()
    return lambda **changes: build("compare", **{"adversary.steps": 1, **changes})


@pytest.fixture
def teacher(build, fit, tmp_path):
    """The checkpoint of a trained method that has the same network."""
    fit(build("emp_ssl"), batches=2).save_checkpoint(tmp_path / "teacher.ckpt")
    return str(tmp_path / "teacher.ckpt")


def test_an_objective_gets_the_documented_fields(compare, fit, teacher):
    method = compare(**{"teacher.kind": "network", "teacher.checkpoint": teacher})
    fit(method)
    crafted, shown = SHOWN  # one step of the attack, one update
    assert shown.z.shape == (4, 4, 8)
    assert shown.attacked.tolist() == [False, False, True, True]
    assert shown.clean.shape == shown.perturbed.shape == (2, 4, 8)
    assert shown.teacher.shape == (4, 4, 16)  # the hidden features of the teacher
    assert torch.equal(shown.teacher[:2], shown.teacher[2:])
    assert torch.equal(crafted.teacher, shown.teacher)
    assert not shown.teacher.requires_grad
    assert method.crop_passes == 4 * (4 + 4) + round(4 * 2 / 3)


def test_the_teacher_is_not_trained_nor_saved(compare, fit, teacher):
    method = compare(**{"teacher.kind": "network", "teacher.checkpoint": teacher})
    before = {k: v.clone() for k, v in method.teacher.encoder.state_dict().items()}
    fit(method, batches=2)
    for key, value in method.teacher.encoder.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not any("teacher" in key for key in method.state_dict())
    assert method.cfg.teacher.weights


def test_the_average_as_teacher(compare, fit):
    method = compare(**{"teacher.kind": "average", "averaging.decay": 0.9})
    own = method.backbone
    fit(method)
    assert method.backbone is own
    assert SHOWN[-1].teacher.shape == (4, 4, 8)
    crops = torch.rand(8, 3, 16, 16)
    method.eval()
    ours = method(crops)["z"]
    theirs = method.prepare(crops, torch.zeros(4))
    assert not torch.equal(ours, theirs)
    method.backbone, method.projector = method.averaged.backbone, method.averaged.projector
    torch.testing.assert_close(method(crops)["z"], theirs)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "learns from a teacher: set teacher.kind"),
        ({"teacher.kind": "network"}, "needs teacher.checkpoint=PATH"),
        ({"teacher.kind": "average"}, "averaging.decay is 0"),
        ({"teacher.kind": "netwrk"}, "Did you mean 'network'"),
        ({"teacher.chekpoint": "a"}, "Did you mean 'checkpoint'"),
        ({"teacher.checkpoint": "a"}, "reads no checkpoint: set teacher.kind=network"),
        ({"teacher.kind": "network", "teacher.checkpoint": "/no/such"}, "No checkpoint at"),
        ({"teacher": "a"}, "teacher must"),
    ],
)
def test_mistakes(compare, changes, words):
    with pytest.raises(UserError, match=words):
        compare(**changes)


def test_a_teacher_of_another_size(compare, teacher):
    changes = {"teacher.kind": "network", "teacher.checkpoint": teacher, "crops.size": 24}
    with pytest.raises(UserError, match="takes images of 16 pixels, and the crops have 24"):
        compare(**changes)


def test_a_run_continues_only_with_its_own_teacher(compare, build, fit, teacher, tmp_path):
    settings = {"teacher.kind": "network", "teacher.checkpoint": teacher}
    method = compare(**settings)
    fit(method).save_checkpoint(tmp_path / "run.ckpt")
    torch.manual_seed(1)
    fit(build("emp_ssl"), batches=3).save_checkpoint(tmp_path / "other.ckpt")
    other = compare(**{**settings, "teacher.checkpoint": str(tmp_path / "other.ckpt")})
    with pytest.raises(UserError, match="give the teacher that it began with"):
        other.on_load_checkpoint(torch.load(tmp_path / "run.ckpt", weights_only=True))
    with pytest.raises(UserError, match="differ from those that this run began with"):
        compare(**{**settings, "teacher.weights": "0" * 16})


def test_the_student_may_start_from_the_teachers_weights(compare, teacher):
    given = {"teacher.kind": "network", "teacher.checkpoint": teacher}
    method = compare(**given, **{"teacher.start_student": True})
    theirs = method.teacher.encoder.backbone.state_dict()
    for name, value in method.backbone.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    assert not torch.equal(compare(**given).backbone.conv1.weight, method.backbone.conv1.weight)


def test_two_batch_norms_both_start_from_the_teachers(compare, teacher):
    method = compare(
        **{"teacher.kind": "network", "teacher.checkpoint": teacher, "teacher.start_student": True},
        **{"backbone.batch_norms": 2, "adversary.forward": "separate"},
    )
    theirs = method.teacher.encoder.backbone.bn1.running_mean
    assert torch.equal(method.backbone.bn1.clean.running_mean, theirs)
    assert torch.equal(method.backbone.bn1.attacked.running_mean, theirs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone.kwargs": {"width": 8, "layers": [1, 1, 1, 1]}}, "is another network than"),
        ({"backbone.stem": "imagenet"}, "is another network than"),
        ({"data.mean": [0.5, 0.5, 0.5]}, r"with data\.mean=\[0\.0, 0\.0, 0\.0\]"),
        ({"teacher.kind": "none", "teacher.checkpoint": None}, "takes the weights of teacher.kind"),
    ],
)
def test_a_student_that_cannot_start_from_the_teacher_is_refused(
    compare, teacher, changes, message
):
    given = {
        "teacher.kind": "network",
        "teacher.checkpoint": teacher,
        "teacher.start_student": True,
    }
    with pytest.raises(UserError, match=message):
        compare(**{**given, **changes})


def test_features_of_another_size_are_refused(build, teacher):
    with pytest.raises(UserError, match=r"use teacher\.features=backbone"):
        build(
            "deacl",
            **{"teacher.kind": "network", "teacher.checkpoint": teacher},
            **{"teacher.features": "projector"},
        )


def test_a_method_that_needs_a_teacher_says_how_to_give_one(build):
    with pytest.raises(UserError, match=r"teacher\.kind=network and teacher\.checkpoint=PATH"):
        build("deacl")
