"""Teachers, which are a frozen checkpoint or the averaged weights, and what is refused."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import pytest
import timm
import torch
from torch import Tensor

from solo_adv import METHODS, UserError
from solo_adv.adversaries import PGD
from solo_adv.encoders.backbones import build_backbone
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
        (
            {"backbone.kwargs": {"width": 8, "layers": [1, 1, 1, 1]}},
            r"kwargs\.width=8, but .* has 4",
        ),
        ({"backbone.kwargs": {"down_kernel_size": 3}}, "is another network than"),
        ({"backbone.name": "resnet34"}, "backbone.name=resnet34, but .* has resnet18"),
        ({"backbone.stem": "imagenet"}, "backbone.stem=imagenet, but .* has cifar"),
        ({"backbone.stem": "cifar_padding2"}, "backbone.stem=cifar_padding2, but .* has cifar"),
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


@pytest.fixture
def of_another_repository(tmp_path):
    """The weights of a network alone, whose stem and normalisation must be named."""
    net, _ = build_backbone("resnet18", image_size=32, width=4, layers=[1, 1, 1, 1])
    torch.save({"model": net.state_dict()}, tmp_path / "net.pth")
    return {"teacher.kind": "network", "teacher.checkpoint": str(tmp_path / "net.pth")}


def test_a_teacher_of_another_repository_is_described(compare, of_another_repository):
    described = {"stem": "cifar_padding2", "mean": [0.5] * 3, "std": [0.25] * 3, "image_size": 16}
    method = compare(**of_another_repository, **{"teacher.encoder": described})
    encoder = method.teacher.encoder
    assert encoder.config["backbone"]["stem"] == "cifar_padding2"
    assert method.cfg.teacher.encoder.stem == "cifar_padding2"
    assert encoder.normalization.statistics == ([0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({}, r"teacher\.encoder\.stem=cifar.*teacher\.encoder\.mean="),
        ({"mean": 5}, r"teacher\.encoder\.mean must be three"),
        ({"batch_norm": "clean"}, r"teacher\.encoder\.batch_norm=clean"),
        ({"steem": "cifar"}, "Unknown key in encoder 'steem'"),
    ],
)
def test_errors_name_the_teachers_settings(compare, of_another_repository, described, message):
    with pytest.raises(UserError, match=message):
        compare(**of_another_repository, **{"teacher.encoder": described})


def test_a_description_without_a_checkpoint_is_refused(compare):
    with pytest.raises(UserError, match=r"teacher\.encoder\.stem.*teacher\.kind=none reads none"):
        compare(**{"teacher.encoder": {"stem": "cifar"}})


def test_settings_that_describe_nothing_are_not_part_of_a_run(compare, teacher):
    given = {"teacher.kind": "network", "teacher.checkpoint": teacher}
    empty = compare(**given, **{"teacher.encoder": {"stem": None}}).cfg.teacher
    assert empty == compare(**given).cfg.teacher


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


@pytest.fixture
def fare(build):
    """A function that builds the method on what the teacher has, with some settings changed."""
    as_teacher = {"backbone": {"name": None, "kwargs": None}, "crops.size": None}

    def make(checkpoint, **changes):
        given = {"teacher.kind": "network", "teacher.checkpoint": str(checkpoint)}
        given = {**given, "teacher.start_student": True, "teacher.features": "backbone"}
        given["crops.num_crops"] = 1
        return build("fare", **as_teacher, **given, **changes)

    return make


def test_a_student_without_a_network_of_its_own_has_the_teachers(fare, build, fit, tmp_path):
    network = {"width": 4, "layers": [1, 2, 1, 1]}
    statistics = {"data.mean": [0.1, 0.2, 0.3], "data.std": [0.5, 0.6, 0.7]}
    teacher = build(
        "emp_ssl", **{"backbone.kwargs": network, "backbone.stem": "imagenet"}, **statistics
    )
    fit(teacher).save_checkpoint(tmp_path / "teacher.ckpt")
    method = fare(tmp_path / "teacher.ckpt")
    assert method.cfg.backbone == {
        **{"name": "resnet18", "stem": "imagenet", "kwargs": network, "batch_norms": 1}
    }
    assert method.normalize.statistics == ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    assert (method.cfg.crops.size, method.cfg.data.image_size) == (16, 16)
    crops = torch.rand(2, 3, 16, 16)
    method.eval()
    assert torch.equal(method(crops)["z"], method.teacher(crops))
    again = type(method).add_and_assert_specific_cfg(method.cfg)
    assert again.backbone == method.cfg.backbone


def test_a_network_must_come_from_somewhere(build):
    with pytest.raises(UserError, match=r"backbone\.name is missing: name a network, or let"):
        build("emp_ssl", **{"backbone.name": None})


def test_a_teacher_of_the_zoo(fare, fit):
    method = fare("cfamc_resnet10w16_digits_m3")
    assert method.cfg.backbone.kwargs == {"layers": [1, 1, 1, 1], "width": 16}
    fit(method)
    with pytest.raises(UserError, match="Did you mean 'cfamc_resnet10w16_digits_m3'"):
        fare("cfamc_resnet10w16_digits_m4")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 224), ("vit_tiny_patch16_224", 224)], ids=["resnet", "vit"]
)
def test_a_teacher_of_timm(fare, tmp_path, name, size):
    network = timm.create_model(name)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    method = fare(f"timm:{name}@{tmp_path}/a.pth")
    assert method.cfg.backbone.name == name
    assert method.cfg.crops.size == size
    assert method.normalize.statistics[0] == list(network.pretrained_cfg["mean"])
    crops = torch.rand(2, 3, size, size)
    network.reset_classifier(0)
    torch.testing.assert_close(
        method.eval()(crops)["z"], network.eval()(method.normalize(crops)), atol=1e-4, rtol=1e-4
    )


def test_a_changed_file_is_read_anew(compare, build, fit, teacher):
    given = {"teacher.kind": "network", "teacher.checkpoint": teacher}
    first = compare(**given).cfg.teacher.weights
    torch.manual_seed(1)
    fit(build("emp_ssl"), batches=3).save_checkpoint(teacher)
    assert compare(**given).cfg.teacher.weights != first
