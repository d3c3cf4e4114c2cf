"""Converts reports and zoo entries of earlier versions to the format that is written today."""

from collections.abc import Mapping
from typing import Any

from solo_adv.report.measurement import CLEAN, KNN, TOP5

_ATTACK = ("steps", "step_size", "restarts", "random_start", "epsilon")
"""The settings of an attack that the first format held."""


def report_of_format_1(held: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a ``report.json`` of the first format, which had a field for each figure.

    Raises:
        KeyError: a field is missing.
    """
    settings = {name: held[name] for name in ("protocol", "linear", "features")}
    kept = (
        *("method", "checkpoint", "alarms", "pretrain_config", "crop_passes", "versions"),
        *("git_commit", "data", "hardware", "seconds", "date"),
    )
    return {
        **{name: held[name] for name in kept},
        "measurements": _measurements(held, held["num_images"]),
        "config": {"finetune": "none", "space": "crop", **held["config"], **settings},
        "probes": held.get("probes"),
        "weights": held.get("weights"),
    }


def evaluation_of_format_1(held: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an evaluation in the first format of the zoo's index, with a field for each figure.

    Raises:
        KeyError: a figure is missing.
    """
    figures = ("images", "clean", "knn", "attacks")
    kept = {name: value for name, value in held.items() if name not in figures}
    return {**kept, "measurements": _measurements(held, held["images"])}


def _measurements(held: Mapping[str, Any], total: int) -> list[dict[str, Any]]:
    """Convert the figures ``knn``, ``clean``, ``clean_top5`` and ``attacks`` to measurements.

    Args:
        held: a report or an evaluation of the first format.
        total: how many images kNN and clean accuracy were measured on.
    """
    clean = {KNN: held["knn"], CLEAN: held["clean"]}
    if "clean_top5" in held:
        clean[TOP5] = held["clean_top5"]
    seconds = held.get("seconds", {})
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "correct": round(accuracy * total),
            "total": total,
            "seconds": seconds.get(name.lower(), 0.0),
        }
        for name, accuracy in clean.items()
    ]
    for attack in held["attacks"]:
        found.append(
            {
                "name": attack["name"],
                "correct": attack["correct"],
                "total": attack["total"],
                "settings": {
                    "norm": "linf",
                    **{name: attack[name] for name in _ATTACK if name in attack},
                },
                "notes": attack.get("notes", ()),
                "details": attack.get("broken_by", {}),
                "seconds": attack.get("seconds", 0.0),
            }
        )
    return found
