"""The rows as data: what is pretrained, and how each table judges it.

A row that trains a model of the paper has that model's name in ``solo_adv.paper.MODELS``. Settings
that are the method's defaults in ``conf/`` are left out, except those that distinguish rows.
"""

from dataclasses import dataclass

CIFAR = ("cifar10", "cifar100")
ALL = (*CIFAR, "imagenet100")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One call of ``main_robust.py``."""

    name: str
    overrides: tuple[str, ...]
    covers: tuple[str, ...] = ()
    """Names of evaluations whose results this one contains."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One call of ``main_pretrain.py``."""

    name: str
    config: str
    """The method's config in ``conf/``."""
    num_crops: int
    epochs: int
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A row of a table, with the data sets and the evaluations that the table has for it."""

    row: str
    datasets: tuple[str, ...]
    evaluations: tuple[str, ...]


_STANDARD, _ROBUST = "linear=standard", "linear=robust"

EVALUATIONS = {
    e.name: e
    for e in (
        Evaluation(name="standard", overrides=(_STANDARD,)),
        Evaluation(name="robust", overrides=(_ROBUST,)),
        Evaluation(name="autoattack", overrides=(_ROBUST, "autoattack=true"), covers=("robust",)),
        *(
            Evaluation(
                name=f"crops{n}",
                overrides=(_STANDARD, "protocol=crops", f"num_crops={n}", "space=crop"),
            )
            for n in (32, 64)
        ),
    )
}


def _emp(name: str, epochs: int, *overrides: str, crops: int = 16) -> Row:
    return Row(name=name, config="robust_emp", num_crops=crops, epochs=epochs, overrides=overrides)


def _cfamc(name: str, replays: int, epochs: int, *overrides: str, crops: int = 16) -> Row:
    return Row(
        name=name,
        config="cfamc",
        num_crops=crops,
        epochs=epochs,
        overrides=(f"adversary.replays={replays}", *overrides),
    )


def _simclr_free(name: str, replays: int, epochs: int, *overrides: str) -> Row:
    return Row(
        name=name,
        config="simclr_freeadv",
        num_crops=2,
        epochs=epochs,
        overrides=(f"adversary.replays={replays}", *overrides),
    )


def _robust_simclr(name: str, *overrides: str) -> Row:
    return Row(name=name, config="robust_simclr", num_crops=2, epochs=500, overrides=overrides)


def _cross_entropy(name: str, replays: int) -> Row:
    # One view fits the minutes that the paper gives for this row (docs/reproduction.md).
    return Row(
        name=name,
        config="supervised_freeadv",
        num_crops=1,
        epochs=300,
        overrides=(
            f"adversary.replays={replays}",
            "method_kwargs.loss=cross_entropy",
            "adversary.views=all",
        ),
    )


def _sup_con(name: str, replays: int) -> Row:
    return Row(
        name=name,
        config="supervised_freeadv",
        num_crops=2,
        epochs=300,
        overrides=(f"adversary.replays={replays}", "method_kwargs.loss=sup_con"),
    )


_PATCH = "crops=fixed_patch"
_RESNET50 = "backbone.name=resnet50"


def _patches_of(share: float) -> tuple[str, str]:
    return _PATCH, f"crops.scale=[{share},{share}]"


ROWS = {
    row.name: row
    for row in (
        # Tables 1 to 6
        _emp("robust_emp_crop", 30),
        _emp("robust_emp_patch", 30, _PATCH),
        _robust_simclr("robust_simclr_crop"),
        _robust_simclr("robust_simclr_patch", _PATCH),
        _cfamc("cfamc_m3", 3, 10),
        _cfamc("cfamc_m3_patch", 3, 10, _PATCH),
        _cfamc("cfamc_m5", 5, 6),
        _cfamc("cfamc_m5_10ep", 5, 10),
        _cfamc("cfamc_m5_18ep", 5, 18),
        _cfamc("cfamc_m12", 12, 10),
        _simclr_free("simclr_freeadv_m3", 3, 167),
        _simclr_free("simclr_freeadv_m5", 5, 100),
        _cross_entropy("supervised_freeadv_m3", 3),
        _cross_entropy("supervised_freeadv_m7", 7),
        Row(name="simclr", config="simclr", num_crops=2, epochs=500),
        Row(name="emp_ssl", config="emp_ssl", num_crops=20, epochs=30, overrides=(_PATCH,)),
        _cfamc("cfamc_m7_resnet50", 7, 9, _RESNET50),
        _cfamc("cfamc_m3_resnet50", 3, 10, _RESNET50),
        _simclr_free("simclr_freeadv_m7_resnet50", 7, 150, _RESNET50),
        _simclr_free("simclr_freeadv_m3_resnet50", 3, 150, _RESNET50),
        # Ablations of the appendix
        _cfamc("cfamc_m7_10ep", 7, 10),
        *(_emp(f"robust_emp_crop{n}", 30, crops=n) for n in (4, 8, 32)),
        *(_emp(f"robust_emp_patch{n}", 30, _PATCH, crops=n) for n in (4, 8, 32)),
        _emp("robust_emp_patch_half", 30, *_patches_of(0.5)),
        _emp("robust_emp_patch_three_quarters", 30, *_patches_of(0.75)),
        _robust_simclr("robust_simclr_patch_half", *_patches_of(0.5)),
        _robust_simclr("robust_simclr_patch_three_quarters", *_patches_of(0.75)),
        # Other readings of what the paper leaves open
        _cfamc("cfamc_m3_step_epsilon", 3, 10, "adversary.step_size=8/255"),
        _robust_simclr("robust_simclr_cross", "adversary.pair=cross"),
        _robust_simclr("robust_simclr_both", "adversary.pair=cross", "adversary.views=both"),
        _sup_con("supervised_freeadv_m3_sup_con", 3),
        _sup_con("supervised_freeadv_m7_sup_con", 7),
    )
}

_HEADS = ("standard", "robust")


def _judged(
    *rows: str, datasets: tuple[str, ...] = CIFAR, by: tuple[str, ...] = _HEADS
) -> tuple[Judged, ...]:
    return tuple(Judged(row=row, datasets=datasets, evaluations=by) for row in rows)


TABLES: dict[str, tuple[Judged, ...]] = {
    "table1": _judged(
        "robust_emp_patch",
        "robust_emp_crop",
        "robust_simclr_crop",
        "robust_simclr_patch",
        "cfamc_m3_patch",
        "simclr_freeadv_m3",
        "cfamc_m3",
    ),
    "table2": _judged("simclr", "emp_ssl", by=("standard", "crops32", "crops64")),
    "table3": _judged("robust_simclr_crop", "robust_emp_crop"),
    "table4": (
        *_judged("robust_emp_crop", "cfamc_m3"),
        *_judged("cfamc_m5", datasets=ALL),
        *_judged("cfamc_m5_10ep", datasets=("imagenet100",)),
        *_judged("robust_simclr_crop"),
        *_judged("simclr_freeadv_m3", "simclr_freeadv_m5", datasets=ALL),
        *_judged("cfamc_m5_18ep", "cfamc_m12", "supervised_freeadv_m3", "supervised_freeadv_m7"),
    ),
    "table5": _judged(
        "cfamc_m7_resnet50",
        "cfamc_m3_resnet50",
        "simclr_freeadv_m7_resnet50",
        "simclr_freeadv_m3_resnet50",
    ),
    "table6": _judged(
        "robust_emp_crop",
        "cfamc_m3",
        "cfamc_m5",
        "robust_simclr_crop",
        "simclr_freeadv_m3",
        "simclr_freeadv_m5",
        by=("autoattack",),
    ),
    "ablations": (
        *_judged("cfamc_m3", "cfamc_m5_10ep", "cfamc_m7_10ep", "cfamc_m12"),
        *_judged("robust_emp_crop4", "robust_emp_crop8", "robust_emp_crop", "robust_emp_crop32"),
        *_judged(
            "robust_emp_patch4",
            "robust_emp_patch8",
            "robust_emp_patch",
            "robust_emp_patch32",
            "robust_emp_patch_half",
            "robust_emp_patch_three_quarters",
            "robust_simclr_patch",
            "robust_simclr_patch_half",
            "robust_simclr_patch_three_quarters",
            by=(*_HEADS, "crops32"),
        ),
    ),
    "variants": _judged(
        "cfamc_m3_step_epsilon",
        "robust_simclr_cross",
        "robust_simclr_both",
        "supervised_freeadv_m3_sup_con",
        "supervised_freeadv_m7_sup_con",
    ),
}

PAPER_TABLES = tuple(name for name in TABLES if name.startswith("table"))
