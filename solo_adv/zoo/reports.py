"""The reports that a model of a zoo is published with: which may be, and what becomes of them."""

import io
import json
from collections.abc import Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from solo_adv.adversaries import AUTO, Ball
from solo_adv.catalogue.entry import HEAD_OF, Evaluation, StoredFile
from solo_adv.encoders.weights import read_weights
from solo_adv.report.measurement import AUTOATTACK, by_label
from solo_adv.report.record import FILE, Report
from solo_adv.report.words import labels_words, threat_model
from solo_adv.report.writing import HEAD_FILE
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.zoo.folders import Folders
from solo_adv.zoo.storing import described_file

_OF_EVALUATION = ("linear", "protocol", "features", "finetune")
"""The settings of a report that an entry repeats."""

Found = Sequence[tuple[Path, Report]]
"""Reports and where they lie."""


def judged(reports: Sequence[str | Path], weights: str, name: str, checkpoint: str | Path) -> Found:
    """Read the reports and check that each may be published with an encoder of these weights.

    Args:
        reports: files, or directories with them.
        weights: the fingerprint of the encoder's weights.
        name: what messages call the encoder.
        checkpoint: what ``main_robust.py`` calls it.

    Raises:
        UserError: one is missing, carries an alarm, or is of other weights or of few labels.
    """
    paths: list[Path] = []
    for given in map(Path, reports):
        paths += sorted(given.rglob(FILE)) if given.is_dir() else [given]
    if not paths or not all(path.is_file() for path in paths):
        missing = next((str(path) for path in paths if not path.is_file()), FILE)
        raise UserError(
            f"There is no evaluation report ({missing}), and publishing needs one. "
            f"Run: python main_robust.py checkpoint={checkpoint}"
        )
    found = []
    for path in paths:
        report = Report.read(path)
        if report.weights is None:
            raise UserError(f"{path} does not say which weights it is of: repeat the evaluation.")
        if report.weights["encoder"] != weights:
            raise UserError(
                f"{path} is of other weights ({report.weights['encoder']}) than {name} "
                f"({weights}): evaluate {name}."
            )
        if report.alarms:
            raise UserError(
                f"{path} carries an alarm, so its figures are not published: {report.alarms[0]}"
            )
        if few := labels_words(report.data):
            raise UserError(f"{path} used {few}; published heads have all labels.")
        found.append((path, report))
    return sorted(found, key=lambda pair: _place_in_tables(pair[1].config))


def _place_in_tables(config: Mapping[str, Any]) -> tuple[bool, bool]:
    """For sorting: reports without AutoAttack first, and standard before robust heads."""
    return config["autoattack"], config["linear"] != "standard"


def heads_of(
    found: Found, held: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Mapping[str, Tensor]]:
    """The heads by name; only heads for whole images on the frozen encoder are published.

    Args:
        found: the reports.
        held: heads that are published already.

    Raises:
        UserError: a report is of another head than an earlier one, or its head cannot be read.
    """
    heads = dict(held)
    # The report that trained a head comes first, because only it is sure to know the radius.
    for path, report in sorted(found, key=lambda pair: _was_given(pair[1])):
        if report.config["protocol"] != "central" or report.config["finetune"] != "none":
            continue
        assert report.weights is not None
        name, wanted = name_of_head(report, heads), report.weights["head"]
        if name in heads:
            if weights_fingerprint(heads[name]) != wanted:
                raise UserError(
                    f"{path} is of another {name} head than an earlier report: repeat that "
                    f"evaluation with head_weights set to the earlier report's {HEAD_FILE}."
                )
            continue
        state = read_weights(path.with_name(HEAD_FILE))
        if weights_fingerprint(state) != wanted:
            raise UserError(f"{path.with_name(HEAD_FILE)} is not the head that {path} is of.")
        heads[name] = state
    return heads


def _was_given(report: Report) -> bool:
    return bool(report.weights and report.weights["head_given"])


def name_of_head(report: Report, heads: Mapping[str, Mapping[str, Tensor]]) -> str:
    """The name of a report's head in the zoo.

    Args:
        report: the report.
        heads: known heads by name. One of them has the name that it has here; a head that was given
            to an evaluation does not tell how it was trained.
    """
    assert report.weights is not None
    for name, state in heads.items():
        if weights_fingerprint(state) == report.weights["head"]:
            return name
    config = report.config
    trained, usual = (Ball(config["norm"], e) for e in (config["train_epsilon"], AUTO))
    if config["linear"] == "standard" or trained == usual:
        return HEAD_OF[config["linear"]]
    return f"{HEAD_OF[config['linear']]}_eps{trained.text.removesuffix('/255')}"


def features_of(found: Found) -> str:
    """The features that all reports are of.

    Raises:
        UserError: they are of several.
    """
    features = sorted({report.config["features"] for _, report in found})
    if len(features) > 1:
        raise UserError(f"The reports are of several features ({', '.join(features)}): choose one.")
    return features[0]


def evaluations_of(
    found: Found,
    heads: Sequence[str],
    stems: Sequence[str],
    folder: str,
    files_of: Mapping[str, bytes],
) -> list[Evaluation]:
    """The entry's evaluations, of reports of these heads whose files have these stems."""
    names = [f"{stem}.json" for stem in stems]
    return [
        _evaluation(report, head, described_file(folder, file, files_of[file]))
        for (_, report), head, file in zip(found, heads, names, strict=True)
    ]


def _evaluation(report: Report, head: str, file: StoredFile) -> Evaluation:
    judged = {name: report.config[name] for name in _OF_EVALUATION}
    return Evaluation(
        **judged,
        head=head,
        threat_model=threat_model(report.config),
        test_images=report.data["test_images"],
        measurements=tuple(m.figure for m in report.measurements),
        test_data=report.data["fingerprint_test"],
        report=file,
    )


def place_of(evaluation: Evaluation) -> tuple[bool, str]:
    """For sorting: reports without AutoAttack first, and standard before robust heads."""
    attacked = any(measurement.name == AUTOATTACK for measurement in evaluation.measurements)
    return attacked, evaluation.head


def takes_place(report: Report, head: str, earlier: Evaluation) -> bool:
    """Whether a report measures all that an earlier one did, alike and on no fewer images.

    Args:
        report: the report.
        head: the name of its head.
        earlier: what was measured before.
    """
    if head != earlier.head or any(
        report.config[name] != getattr(earlier, name) for name in _OF_EVALUATION
    ):
        return False
    if report.data["fingerprint_test"] != earlier.test_data:
        return False
    found = {label: m.figure for label, m in report.by_label.items()}
    return all(
        label in found and found[label].settings == m.settings and found[label].total >= m.total
        for label, m in by_label(earlier.measurements).items()
    )


def stems_of(found: Found, heads: Sequence[str], taken: Sequence[str]) -> list[str]:
    """A file name for each report, from what was evaluated; equal names are numbered.

    Args:
        found: the reports.
        heads: the names of their heads.
        taken: names that other reports have.
    """
    stems: list[str] = []
    for (_, report), head in zip(found, heads, strict=True):
        stem = f"report_{head}"
        stem += "_crops" if report.config["protocol"] == "crops" else ""
        stem += "_finetuned" if report.config["finetune"] != "none" else ""
        stem += "_autoattack" if report.config["autoattack"] else ""
        numbered = (f"{stem}{number}" for number in count(2))
        names = chain([stem], numbered)
        stems.append(next(name for name in names if name not in {*stems, *taken}))
    return stems


def files_of_reports(found: Found, stems: Sequence[str]) -> dict[str, bytes]:
    """The files of the reports by published name, without the folders of this machine."""
    files = {}
    for (path, _), stem in zip(found, stems, strict=True):
        held = json.loads(path.read_text(encoding="utf-8"))
        folders = Folders(held)
        text = json.dumps(folders.without(held), indent=2, allow_nan=False) + "\n"
        files[f"{stem}.json"] = text.encode()
        words, picture = path.with_suffix(".md"), path.with_suffix(".png")
        if words.exists():
            text = folders.without(words.read_text(encoding="utf-8"))
            files[f"{stem}.md"] = text.replace("(report.png)", f"({stem}.png)").encode()
        if picture.exists():
            files[f"{stem}.png"] = in_few_colours(picture)
    return files


def in_few_colours(picture: Path) -> bytes:
    """A picture as PNG with a palette of 256 colours, about a third as large.

    A zoo has a picture for each report, and they would take more space than the weights.
    """
    palette = (
        Image.open(picture)
        .convert("RGB")
        .quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    )
    buffer = io.BytesIO()
    palette.save(buffer, format="png", optimize=True)
    return buffer.getvalue()
