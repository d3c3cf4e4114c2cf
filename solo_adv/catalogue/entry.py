"""One model of the zoo, as data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from solo_adv.encoders.specification import IDENTITY, resolve_stem
from solo_adv.report.measurement import Measurement
from solo_adv.report.older import evaluation_of_format_1
from solo_adv.support.errors import UserError

HEAD_OF = {"standard": "linear", "robust": "robust_linear"}
"""The name of a usual head in the zoo, by the ``linear`` of its report. That of a head trained on
attacks of another radius than the usual one has the radius after it, ``robust_linear_eps4``."""


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """A file of the zoo.

    Attributes:
        path: Path relative to the root of a zoo or mirror.
        size: Size in bytes.
        sha256: Hash of the contents in hexadecimal digits.
        urls: Further addresses of the file.
        parts: The pieces whose concatenation is the file, if it is stored in pieces.
    """

    path: str
    size: int
    sha256: str
    urls: tuple[str, ...] = ()
    parts: tuple["StoredFile", ...] = ()

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> "StoredFile":
        """Read a file's description from the index."""
        parts = tuple(cls.from_dict(part) for part in held.get("parts", ()))
        return cls(**{**held, "urls": tuple(held.get("urls", ())), "parts": parts})

    def to_dict(self) -> dict[str, Any]:
        """The description for the index, without empty fields."""
        held = {"path": self.path, "size": self.size, "sha256": self.sha256}
        more = {"urls": list(self.urls), "parts": [part.to_dict() for part in self.parts]}
        return held | {key: value for key, value in more.items() if value}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a published report measured, and where it lies.

    Attributes:
        linear, protocol, features, finetune: as in the settings of the evaluation.
        head: the name of the head in the zoo.
        threat_model: in words.
        test_images: how many the test set has; each measurement says how many it judged.
        test_data: fingerprint of the test set.
    """

    linear: str
    head: str
    protocol: str
    features: str
    finetune: str
    threat_model: str
    test_images: int
    measurements: tuple[Measurement, ...]
    test_data: str
    report: StoredFile

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> "Evaluation":
        """Read an evaluation from an index of this format or of the first one.

        The first format has a field for each figure.

        Raises:
            UserError: a measurement counts more correct images than there were.
        """
        if "measurements" not in held:
            held = evaluation_of_format_1(held)
        try:
            measurements = tuple(Measurement.from_dict(found) for found in held["measurements"])
        except ValueError as error:
            raise UserError(str(error)) from error
        report = StoredFile.from_dict(held["report"])
        head = held.get("head", HEAD_OF[held["linear"]])
        return cls(**{**held, "head": head, "measurements": measurements, "report": report})

    def to_dict(self) -> dict[str, Any]:
        """The evaluation for the index, without the name of a usual head.

        A measurement keeps its counts and what identifies it.
        """
        kept = ("name", "correct", "total", "settings")
        measurements = [{name: getattr(m, name) for name in kept} for m in self.measurements]
        held = asdict(self) | {"measurements": measurements, "report": self.report.to_dict()}
        if self.head == HEAD_OF[self.linear]:
            del held["head"]
        return held


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model: how to rebuild it, its files, its training and its evaluations.

    The fields are those of ``schema.json``. The encoder is rebuilt from ``training["config"]``
    alone, and the descriptive fields must agree with it (:meth:`check`).
    """

    name: str
    summary: str
    method: str
    dataset: str
    classes: int
    backbone: dict[str, Any]
    image_size: int
    mean: list[float]
    std: list[float]
    features: str
    feature_dims: dict[str, int]
    files: dict[str, StoredFile]
    licence: str
    training: dict[str, Any]
    evaluations: list[Evaluation]
    date: str
    base_urls: tuple[str, ...] = field(default=(), compare=False)
    """Mirrors of the index that the entry was read from; not part of the entry."""

    @classmethod
    def from_dict(cls, held: Mapping[str, Any], base_urls: tuple[str, ...] = ()) -> "Entry":
        """Read an entry of an index that the schema accepts.

        Raises:
            UserError: A descriptive field contradicts the training config.
        """
        files = {kind: StoredFile.from_dict(file) for kind, file in held["files"].items()}
        evaluations = [Evaluation.from_dict(evaluation) for evaluation in held["evaluations"]]
        entry = cls(**{**held, "files": files, "evaluations": evaluations, "base_urls": base_urls})
        entry.check()
        return entry

    def to_dict(self) -> dict[str, Any]:
        """The entry for the index."""
        held = asdict(self)
        del held["base_urls"]
        return held | {
            "files": {kind: file.to_dict() for kind, file in self.files.items()},
            "evaluations": [evaluation.to_dict() for evaluation in self.evaluations],
        }

    def check(self) -> None:
        """Refuse descriptive fields that contradict the training config.

        Raises:
            UserError: A field contradicts it; the message names the first.
        """
        try:
            derived = described(self.training["config"])
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self.name}: its training config lacks {error}.") from error
        for name, value in derived.items():
            if getattr(self, name) != value:
                raise UserError(
                    f"{self.name}: the index says {name} = {getattr(self, name)}, and its training "
                    f"config {value}. Correct the entry, or publish the model again."
                )

    @property
    def heads(self) -> list[str]:
        """The heads that ``load_pretrained(name, head=...)`` takes."""
        return sorted(name for name in self.files if name != "encoder")


def described(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an entry that follow from a complete pretraining config."""
    data, backbone, size = config["data"], config["backbone"], config["crops"]["size"]
    name = backbone["name"]
    stem = resolve_stem(backbone.get("stem", "auto"), size) if _is_resnet(name) else "none"
    return {
        "method": config["method"],
        "dataset": data["dataset"],
        "backbone": {"name": name, "stem": stem, "kwargs": dict(backbone.get("kwargs") or {})},
        "image_size": size,
        "mean": list(data.get("mean") or IDENTITY[0]),
        "std": list(data.get("std") or IDENTITY[1]),
    }


def _is_resnet(name: str) -> bool:
    return bool(name.startswith("resnet"))
