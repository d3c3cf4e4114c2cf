"""Completes the config of a method: applies presets, fills in defaults, checks every setting."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from solo_adv.adversaries import Adversary, AttackSchedule
from solo_adv.adversaries.ball import with_usual_lengths
from solo_adv.crops import CropOptions, CropSpec, read_crops
from solo_adv.crops import build as build_crops
from solo_adv.encoders.backbones import Normalization
from solo_adv.methods.attacked_views import AttackedViews
from solo_adv.methods.averaging import Averaging
from solo_adv.methods.graph_checks import check_graph
from solo_adv.methods.performance import Performance, resolved_precision
from solo_adv.methods.teacher import TeacherSettings, follow, read_teacher
from solo_adv.support.checks import choice, whole
from solo_adv.support.errors import UserError
from solo_adv.support.settings import accepted_settings, construct, section

if TYPE_CHECKING:
    from solo_adv.objectives import Objective

PRESETS: dict[str, dict[str, Any]] = {
    "reference": {
        "adversary.accumulate_gradients": True,
        "adversary.batch_norm": "train",
        "adversary.clamp_before_forward": False,
        "adversary.self_view": "every_step",
        "scheduler.name": "reference_cyclic",
    }
}
"""Named sets of options. ``reference`` has the choices of the paper's code that change results. A
method takes the options that it knows. It also takes its own default of ``adversary.forward``,
because the paper's code does the same."""

DRAWN_BY_STEP = (
    "crops.source=device (without data.format=dali; under solo-learn with "
    "augmentations=whole_image +data.image_size=PIXELS)"
)
"""For messages: the settings with which the training step draws the crops from whole images."""

_HIDDEN_DIM = 4096


class Replacement(NamedTuple):
    """An option of a method's own preset."""

    usual: tuple[Any, ...]
    """The values that the preset replaces, besides None."""
    value: Any
    """The preset's value."""


OwnPresets = Mapping[str, Mapping[str, Replacement]]
"""A method's own presets by name, each with its options by their dotted keys."""


def with_preset(
    cfg: DictConfig,
    adversary: type[Adversary],
    default_views: AttackedViews,
    own: OwnPresets,
) -> DictConfig:
    """Write the options of the config's ``preset`` into the config.

    Raises:
        UserError: there is no such preset, or the config contradicts it.
    """
    preset = cfg.get("preset")
    if preset is None:
        return cfg
    choice("preset", preset, {*PRESETS, *own})
    if preset in own:
        for key, (usual, value) in own[preset].items():
            given = OmegaConf.select(cfg, key)
            if given not in (None, value, *usual):
                raise UserError(
                    f"preset={preset} sets {key}={value}, but the config has {given}: leave one of "
                    f"the two out. The preset is {_words(own[preset])}."
                )
            OmegaConf.update(cfg, key, value, force_add=True)
        return cfg
    accepted = {*accepted_settings(adversary), *AttackedViews.keys(adversary)}
    for key, value in (PRESETS[preset] | {"adversary.forward": default_views.forward}).items():
        group, name = key.split(".")
        if group != "adversary" or name in accepted:
            OmegaConf.update(cfg, key, value, force_add=True)
    return cfg


def _words(preset: Mapping[str, Replacement]) -> str:
    return " ".join(f"{key}={option.value}" for key, option in preset.items())


def follow_teacher(cfg: DictConfig) -> None:
    """If the student starts from a teacher, let what the config leaves open be as the teacher's.

    These are the backbone, ``data.mean`` and ``data.std``, and, if ``crops.size`` is null, that and
    ``data.image_size``.

    Raises:
        UserError: the teacher cannot be read, or the config contradicts it, or it names no network.
    """
    teacher, backbone = teacher_settings(cfg), section(cfg, "backbone")
    if teacher.start_student:
        encoder, _ = read_teacher(teacher)
        cfg.backbone = follow(encoder, backbone, teacher.checkpoint)
        follows: dict[str, Any] = dict(
            zip(("mean", "std"), encoder.normalization.statistics, strict=True)
        )
        if section(cfg, "crops").get("size") is None:
            follows["image_size"] = encoder.image_size
            OmegaConf.update(cfg, "crops.size", encoder.image_size, force_add=True)
        given = {k: v for k, v in section(cfg, "data").items() if v is not None}
        cfg.data = {**section(cfg, "data"), **follows, **given}
    elif backbone.get("name") is None:
        raise UserError(
            "backbone.name is missing: name a network, or let the student start from a teacher "
            "(teacher.kind=network teacher.checkpoint=PATH teacher.start_student=true)."
        )


def fill_in(
    cfg: DictConfig,
    *,
    objective: type["Objective"],
    adversary: type[Adversary],
    default_views: AttackedViews,
    default_averaging: Averaging,
    default_crops: str,
) -> None:
    """Write the defaults of a method's own sections into a config, in place.

    Raises:
        UserError: a section is not a mapping, or the teacher cannot be read.
    """
    projector = {"proj_hidden_dim": _HIDDEN_DIM, "proj_output_dim": objective.output_dim}
    given = section(cfg, "method_kwargs")
    if not objective.projector:  # data sets' configs set the size of a projector for all methods
        given = {key: value for key, value in given.items() if key not in projector}
        projector = {}
    cfg.method_kwargs = {**projector, **accepted_settings(objective), **given}
    cfg.adversary = with_usual_lengths(
        {
            **accepted_settings(adversary),
            **{key: getattr(default_views, key) for key in AttackedViews.keys(adversary)},
            **{key: getattr(AttackSchedule(), key) for key in schedule_keys(adversary)},
            **section(cfg, "adversary"),
        }
    )
    usual, given = CropOptions.defaults(), section(cfg, "crops")
    if isinstance(given.get("anneal", {}), Mapping):
        given["anneal"] = {**usual["anneal"], **given.get("anneal", {})}
    cfg.crops = {
        **usual,
        **plain_spec(CropSpec.preset(default_crops)),
        "size": None,
        **given,
    }
    for name, settings, usual in (
        ("performance", Performance, accepted_settings(Performance)),
        ("averaging", Averaging, asdict(default_averaging)),
        ("teacher", TeacherSettings, accepted_settings(TeacherSettings)),
    ):
        complete = {**usual, **section(cfg, name)}
        construct(settings, complete, name)
        cfg[name] = complete
    if not teacher_settings(cfg).named:  # so that a run is told by what describes its teacher
        cfg.teacher = {key: value for key, value in cfg.teacher.items() if key != "encoder"}
    cfg.backbone.batch_norms = cfg.backbone.get("batch_norms") or 1
    cfg.precision = resolved_precision(cfg)
    if (taught := teacher_settings(cfg)).reads_checkpoint:
        cfg.teacher.weights = read_teacher(taught)[1]


def check(
    cfg: DictConfig,
    *,
    objective_class: type["Objective"],
    adversary_class: type[Adversary],
    spec: CropSpec,
    options: CropOptions,
) -> None:
    """Check a complete config, by building those of its parts that are cheap to build.

    Raises:
        UserError: a key is unknown, a value is out of range, or settings contradict each other.
    """
    objective = build_objective(cfg, objective_class)
    views, adversary = build_adversary(cfg, adversary_class)
    build_crops(spec, options.backend)
    if options.source == "loader" and spec.pad:
        raise UserError(
            f"crops.pad={spec.pad:g} adds a border to the images, and a loader that delivers crops "
            f"cannot: use crops.pad=0, or {DRAWN_BY_STEP}."
        )
    if cfg.backbone.batch_norms not in (1, 2):
        raise UserError(
            "backbone.batch_norms must be 1, or 2 for separate ones for clean and attacked views; "
            f"got {cfg.backbone.batch_norms}."
        )
    if objective.needs_twins and views.views != "twins":
        raise UserError(
            f"method={cfg.method} compares each crop's clean and attacked copy and needs "
            f"adversary.views=twins; got {views.views}."
        )
    momentum = averaging_settings(cfg).views == "second"
    views.check(num_crops=spec.num_crops, batch_norms=cfg.backbone.batch_norms, momentum=momentum)
    if spec.num_crops < (needed := views.crops_needed(objective.min_views)):
        raise UserError(
            f"method={cfg.method} compares crops of an image and needs crops.num_crops of at "
            f"least {needed}; got {spec.num_crops}."
        )
    if objective.wants_plain and options.source == "loader":
        raise UserError(
            "method_kwargs.sir and air compare with images without augmentation, and a loader that "
            f"delivers crops has none: use {DRAWN_BY_STEP}."
        )
    _check_teacher(cfg, objective, spec, options)
    check_graph(cfg, adversary)


def _check_teacher(
    cfg: DictConfig, objective: "Objective", spec: CropSpec, options: CropOptions
) -> None:
    teacher, averaging = teacher_settings(cfg), averaging_settings(cfg)
    if objective.needs_clusters and not teacher.clusters:
        raise UserError(
            f"method={cfg.method} learns the clusters of a teacher's features: set "
            "teacher.kind=bank, teacher.checkpoint=PATH and teacher.clusters=10."
        )
    if teacher.clusters and not objective.needs_clusters:
        raise UserError(
            f"teacher.clusters={teacher.clusters} makes labels that method={cfg.method} does not "
            "use: set teacher.clusters=0."
        )
    if objective.needs_teacher and teacher.kind == "none":
        raise UserError(
            f"method={cfg.method} learns from a teacher: set teacher.kind=network and "
            "teacher.checkpoint=PATH, or teacher.kind=average and averaging.decay=0.99."
        )
    if teacher.kind == "average" and not averaging.decay:
        raise UserError(
            "teacher.kind=average uses the averaged weights, and averaging.decay is 0: set "
            "averaging.decay, for instance to 0.99."
        )
    if teacher.kind == "average" and averaging.views == "second":
        raise UserError(
            "averaging.views=second already shows the objective embeddings of the averaged "
            "weights: use teacher.kind=none or network."
        )
    if teacher.kind == "bank" and options.source == "loader":
        raise UserError(
            "teacher.kind=bank computes the targets of whole images, and a loader that delivers "
            f"crops has none: use {DRAWN_BY_STEP}."
        )
    if not teacher.reads_checkpoint:
        return
    encoder, _ = read_teacher(teacher)
    if teacher.kind == "network" or teacher.start_student:
        _check_teacher_size(encoder.image_size, spec.size)
    if teacher.start_student and cfg.data.get("mean") is not None:
        own = Normalization(cfg.data.mean, cfg.data.std).statistics
        theirs = encoder.normalization.statistics
        if own != theirs:
            raise UserError(
                "teacher.start_student=true: the student must normalise images as the teacher "
                f"does, with data.mean={theirs[0]} and data.std={theirs[1]}; got "
                f"{own[0]} and {own[1]}."
            )


def _check_teacher_size(image_size: int, crop_size: int) -> None:
    if image_size != crop_size:
        raise UserError(
            f"The teacher takes images of {image_size} pixels, and the crops have {crop_size}: set "
            f"crops.size={image_size}, or take a teacher for that size."
        )


def build_objective(cfg: DictConfig, objective_class: type["Objective"]) -> "Objective":
    """Build the objective from the ``method_kwargs`` of a complete config, and check the rest.

    Raises:
        UserError: a key is unknown, or a value is not accepted.
    """
    kwargs = section(cfg, "method_kwargs")
    besides = ("proj_hidden_dim", "proj_output_dim") if objective_class.projector else ()
    for key in besides:
        whole(f"method_kwargs.{key}", kwargs.pop(key), 1)
    return construct(objective_class, kwargs, "method_kwargs", besides=besides)


def build_adversary(
    cfg: DictConfig, adversary_class: type[Adversary]
) -> tuple[AttackedViews, Adversary]:
    """Build both parts of the ``adversary`` section of a complete config.

    Raises:
        UserError: a key is unknown, or a value is not accepted.
    """
    given = section(cfg, "adversary")
    beside = (AttackedViews.keys(adversary_class), schedule_keys(adversary_class))
    views, schedule = (
        kind(**{key: given.pop(key) for key in keys if key in given})
        for kind, keys in zip((AttackedViews, AttackSchedule), beside, strict=True)
    )
    adversary = construct(adversary_class, given, "adversary", besides=sum(beside, ()))
    adversary.schedule = schedule
    return views, adversary


def schedule_keys(adversary_class: type[Adversary]) -> tuple[str, ...]:
    """The keys of an :class:`AttackSchedule`, if the adversary attacks at all."""
    return () if adversary_class is Adversary else tuple(accepted_settings(AttackSchedule))


def teacher_settings(cfg: DictConfig) -> TeacherSettings:
    """The ``teacher`` section of a config, typed and checked."""
    return construct(TeacherSettings, section(cfg, "teacher"), "teacher")


def averaging_settings(cfg: DictConfig) -> Averaging:
    """The ``averaging`` section of a config, typed and checked."""
    return construct(Averaging, section(cfg, "averaging"), "averaging")


def crop_settings(cfg: DictConfig, default_size: int) -> tuple[CropSpec, CropOptions]:
    """The crops that a complete config draws, and options for how.

    Args:
        cfg: the config.
        default_size: side of the crops in pixels if the config names none.
    """
    settings = section(cfg, "crops")
    settings["size"] = settings["size"] or default_size
    return read_crops(settings)


def plain_spec(spec: CropSpec) -> dict[str, Any]:
    """The fields of a ``CropSpec`` in the form of the config's ``crops`` section."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(spec).items()
    }
