"""Makes a model of a zoo from a finished run and its reports: files, hashes, entry, model card.

:func:`publish` makes it, and :func:`extend` adds reports to it later.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor

from solo_adv.catalogue.entry import Entry, described
from solo_adv.catalogue.index import INDEX_FILE, ZOO_NAME, read_index
from solo_adv.encoders.checkpoint import find_checkpoint
from solo_adv.encoders.loading import encoder_from
from solo_adv.support.errors import UserError, unknown
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.support.progress import say
from solo_adv.training.runs import check_ends_run, comparable
from solo_adv.zoo.folders import Folders
from solo_adv.zoo.reports import (
    evaluations_of,
    features_of,
    files_of_reports,
    heads_of,
    judged,
    name_of_head,
    place_of,
    stems_of,
    takes_place,
)
from solo_adv.zoo.storing import described_file, index_with, stored, weights_file, write_model

PART_BYTES = 15 << 20
"""Larger files are stored in parts of this size, because many hosts refuse files of 16 MiB."""
_OF_THIS_MACHINE = ("train_path", "val_path")


def publish(
    run: str | Path,
    *,
    name: str,
    summary: str,
    zoo: str | Path,
    reports: Sequence[str | Path],
    licence: str = "MIT",
    commit: str | None = None,
    hardware: str | None = None,
    minutes: float | None = None,
    part_bytes: int = PART_BYTES,
) -> Entry:
    """Add a run's encoder, and the heads of its reports, to a zoo directory.

    Args:
        run: Directory of a finished run, or its checkpoint.
        name: Lower-case words joined by ``_``; a model with that name is replaced.
        summary: One honest sentence that says what the model is.
        zoo: Directory of the zoo, whose ``index.json`` is created or extended; it can be hosted
            as it is.
        reports: ``report.json`` files of this encoder, or directories with them. The folders of
            this machine are left out of what is published (:class:`Folders`).
        licence: Licence of the weights.
        commit: Commit of the code that trained it; the run does not record it.
        hardware: What it was trained on; the run does not record it.
        minutes: How long the training took; the run does not record it.
        part_bytes: Files larger than this are split.

    Raises:
        UserError: The run is unfinished, or a report is missing, carries an alarm, is of other
            weights, or of another head than an earlier report. Nothing is written then.
    """
    if not ZOO_NAME.fullmatch(name) or name != name.lower() or "-" in name:
        raise UserError(f"'{name}' is no name for a model: use lower-case words joined by '_'.")
    checkpoint = find_checkpoint(run)
    encoder = encoder_from(checkpoint)
    check_ends_run(checkpoint, encoder.config)
    state = encoder.state_dict()
    found = judged(reports, weights_fingerprint(state), str(checkpoint), checkpoint.parent)
    zoo = Path(zoo)
    features = features_of(found)
    content = {"encoder": weights_file("encoder", state)}
    heads = heads_of(found, {})
    content |= {head: weights_file(head, state) for head, state in heads.items()}
    folder = f"models/{name}"
    files = {kind: described_file(folder, *c, part_bytes) for kind, c in content.items()}
    config = _shared(encoder.config, checkpoint)
    names = [name_of_head(report, heads) for _, report in found]
    stems = stems_of(found, names, ())
    files_of = files_of_reports(found, stems)
    entry = Entry(
        **described(config),
        name=name,
        summary=summary,
        classes=found[0][1].data["classes"],
        features=features,
        feature_dims=encoder.dims,
        files=files,
        licence=licence,
        training={
            "config": config,
            "commit": commit,
            "crop_passes": encoder.crop_passes,
            "hardware": hardware,
            "minutes": minutes,
        },
        evaluations=sorted(evaluations_of(found, names, stems, folder, files_of), key=place_of),
        date=_today(),
    )
    entry.check()
    index = index_with(zoo, entry)
    write_model(zoo, entry, content, files_of, index)
    return entry


def extend(
    name: str,
    *,
    zoo: str | Path,
    reports: Sequence[str | Path],
    part_bytes: int = PART_BYTES,
) -> Entry:
    """Add reports to a model of a zoo directory; its run is not needed.

    A report takes the place of an earlier one of the same head if it measures all that the earlier
    one did, with the same settings and on at least as many images. All others stay, and the
    standard error says which went.

    Args:
        name: A model of the zoo.
        zoo: Directory of the zoo.
        reports: ``report.json`` files of this model, or directories with them; see
            :func:`publish`. ``main_robust.py checkpoint=NAME`` evaluates a model of a zoo, with a
            published head if ``head_weights`` names its file.
        part_bytes: Files larger than this are split.

    Raises:
        UserError: There is no such model, its files are damaged, or a report is missing, carries an
            alarm, or is of other weights, another head, other features or other classes. Nothing is
            written then.
    """
    zoo = Path(zoo)
    models = read_index(zoo / INDEX_FILE)
    if name not in models:
        raise unknown(f"model of {zoo}", name, models)
    entry = models[name]
    held = {kind: _weights(stored(zoo, file)) for kind, file in entry.files.items()}
    found = judged(reports, weights_fingerprint(held.pop("encoder")), name, name)
    if (features := features_of(found)) != entry.features:
        raise UserError(f"The reports are of features={features}; {name} has {entry.features}.")
    for path, report in found:
        if report.data["classes"] != entry.classes:
            raise UserError(
                f"{path} is of {report.data['classes']} classes; {name} has {entry.classes}."
            )
    heads = heads_of(found, held)
    names = [name_of_head(report, heads) for _, report in found]
    new = {head: state for head, state in heads.items() if head not in held}
    content = {head: weights_file(head, state) for head, state in new.items()}
    folder = f"models/{name}"
    files = {kind: described_file(folder, *c, part_bytes) for kind, c in content.items()}
    judged_now = [(report, head) for (_, report), head in zip(found, names, strict=True)]
    gone = [e for e in entry.evaluations if any(takes_place(*now, e) for now in judged_now)]
    staying = [e for e in entry.evaluations if e not in gone]
    stems = stems_of(found, names, [Path(e.report.path).stem for e in staying])
    files_of = files_of_reports(found, stems)
    evaluations = [*staying, *evaluations_of(found, names, stems, folder, files_of)]
    entry = replace(
        entry,
        files=entry.files | files,
        evaluations=sorted(evaluations, key=place_of),
        date=_today(),
    )
    write_model(zoo, entry, content, files_of, index_with(zoo, entry))
    named = {evaluation.report.path for evaluation in entry.evaluations}
    for replaced in (evaluation.report.path for evaluation in gone):
        say(f"Replaced: {replaced}")
        for suffix in (".json", ".md", ".png") if replaced not in named else ():
            (zoo / replaced).with_suffix(suffix).unlink(missing_ok=True)
    return entry


def _weights(content: bytes) -> dict[str, Tensor]:
    """The weights of a file, in the type in which they are judged."""
    return {name: t.float() if t.is_floating_point() else t for name, t in load(content).items()}


def _shared(config: Mapping[str, Any], checkpoint: Path) -> dict[str, Any]:
    """The config without the settings and the folders of the machine that it ran on."""
    kept = comparable(config)
    kept["data"] = {k: v for k, v in kept["data"].items() if k not in _OF_THIS_MACHINE}
    shared: dict[str, Any] = Folders({"checkpoint": str(checkpoint), "config": kept}).without(kept)
    return shared


def _today() -> str:
    return datetime.now(timezone.utc).date().isoformat()
