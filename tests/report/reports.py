"""Makes reports and measurements without measuring anything, and lists the packaged reports."""

import json

from solo_adv.catalogue import places
from solo_adv.evaluation import RobustSettings
from solo_adv.report.measurement import Measurement
from solo_adv.report.record import Report

DEFAULTS = RobustSettings()
PACKAGED = sorted((places.PACKAGED / "models").rglob("report_*.json"))
FIRST_FORMAT = [file for file in PACKAGED if "format" not in json.loads(file.read_text())]


def measurement(name, accuracy, level=None, total=1000, **more):
    """Make a measurement; ``level`` is 255 * epsilon."""
    settings = {} if level is None else {"norm": "linf", "epsilon": level / 255}
    correct = round(accuracy * total)
    return Measurement(name=name, correct=correct, total=total, settings=settings, **more)


def make_report(settings=DEFAULTS, **changes):
    """Make a complete report in which ``changes`` replace fields."""
    held = {
        "method": "cfamc",
        "checkpoint": "trained_models/cfamc/one.ckpt",
        "measurements": [
            measurement("kNN", 0.512),
            measurement("clean", 0.7),
            measurement("clean, top-5", 0.91),
            measurement("PGD-20", 0.45, 4),
            measurement("PGD-20", 0.2, 8, notes=("too weak",)),
        ],
        "alarms": [],
        "config": settings.to_config(),
        "pretrain_config": {"lr": 0.3, "limit": float("inf"), "views": (1, 2)},
        "crop_passes": 1234,
        "versions": {"solo_adv": "0.1.0", "torch": "2.6.0", "pyautoattack": "0.2.0"},
        "git_commit": None,
        "data": {
            "name": "toy",
            "classes": 2,
            "test_images": 1000,
            "train_images": 200,
            "fingerprint_train": "a" * 16,
            "fingerprint_test": "b" * 16,
        },
        "hardware": {"device": "cpu", "name": "a processor", "cores": 2, "processes": 1},
        "seconds": {"features": 0.1, "total": 12.0},
        "date": "2026-01-01T00:00:00+00:00",
        "weights": {"encoder": "c" * 16, "head": "d" * 16, "head_given": False},
    }
    return Report(**{**held, **changes})
