"""Makes a model of a zoo from a finished run and its reports: files, hashes, entry, model card."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from solo_adv.catalogue.entry import HEAD_OF, Entry, Evaluation, StoredFile, described
from solo_adv.catalogue.index import EMPTY, FORMAT, INDEX_FILE, ZOO_NAME, parse
from solo_adv.encoders.checkpoint import find_checkpoint
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.loading import encoder_from
from solo_adv.encoders.weights import read_weights
from solo_adv.report.record import FILE, Report
from solo_adv.report.words import labels_words, threat_model
from solo_adv.report.writing import HEAD_FILE
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole
from solo_adv.support.fingerprints import weights_fingerprint
from solo_adv.support.hashes import sha256
from solo_adv.training.runs import comparable, ends_run
from solo_adv.zoo.card import card
from solo_adv.zoo.folders import Folders

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
    if not ends_run(checkpoint, encoder.config):
        raise UserError(f"{checkpoint} is not the end of its run: let the run finish first.")
    found = _judged(reports, encoder, checkpoint)
    zoo = Path(zoo)
    content, heads, features = {}, _heads(found), _features(found)
    content["encoder"] = ("encoder.safetensors", save(_contiguous(encoder.state_dict())))
    for head, state in heads.items():
        content[head] = (f"{head}.safetensors", save(_contiguous(state)))
    folder = f"models/{name}"
    files = {kind: _described_file(folder, *c, part_bytes) for kind, c in content.items()}
    config = _shared(encoder.config)
    files_of = _report_files(found)
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
        evaluations=[
            _evaluation(report, _described_file(folder, f"{stem}.json", files_of[f"{stem}.json"]))
            for (_, report), stem in zip(found, _stems(found), strict=True)
        ],
        date=datetime.now(timezone.utc).date().isoformat(),
    )
    entry.check()
    index = _index_with(zoo, entry)
    _write(zoo, entry, content, files_of, index)
    return entry


Found = Sequence[tuple[Path, Report]]


def _judged(reports: Sequence[str | Path], encoder: Encoder, checkpoint: Path) -> Found:
    """Read the reports and check that each may be published with this encoder."""
    paths: list[Path] = []
    for given in map(Path, reports):
        paths += sorted(given.rglob(FILE)) if given.is_dir() else [given]
    if not paths or not all(path.is_file() for path in paths):
        missing = next((str(path) for path in paths if not path.is_file()), FILE)
        raise UserError(
            f"There is no evaluation report ({missing}), and publishing needs one. "
            f"Run: python main_robust.py checkpoint={checkpoint.parent}"
        )
    weights = weights_fingerprint(encoder.state_dict())
    found = []
    for path in paths:
        report = Report.read(path)
        if report.weights is None:
            raise UserError(f"{path} does not say which weights it is of: repeat the evaluation.")
        if report.weights["encoder"] != weights:
            raise UserError(
                f"{path} is of other weights ({report.weights['encoder']}) than {checkpoint} "
                f"({weights}): evaluate that checkpoint."
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


def _heads(found: Found) -> dict[str, dict[str, Tensor]]:
    """The heads by name; only heads for whole images on the frozen encoder are published."""
    heads: dict[str, dict[str, Tensor]] = {}
    for path, report in found:
        if report.config["protocol"] != "central" or report.config["finetune"] != "none":
            continue
        assert report.weights is not None
        name, wanted = HEAD_OF[report.config["linear"]], report.weights["head"]
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


def _features(found: Found) -> str:
    features = sorted({report.config["features"] for _, report in found})
    if len(features) > 1:
        raise UserError(f"The reports are of several features ({', '.join(features)}): choose one.")
    return features[0]


def _shared(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without the settings of the machine that it ran on."""
    kept = comparable(config)
    kept["data"] = {k: v for k, v in kept["data"].items() if k not in _OF_THIS_MACHINE}
    return kept


def _evaluation(report: Report, file: StoredFile) -> Evaluation:
    judged = {name: report.config[name] for name in ("linear", "protocol", "features", "finetune")}
    return Evaluation(
        **judged,
        threat_model=threat_model(report.config),
        test_images=report.data["test_images"],
        measurements=tuple(m.figure for m in report.measurements),
        test_data=report.data["fingerprint_test"],
        report=file,
    )


def _stems(found: Found) -> list[str]:
    """A file name for each report, from what was evaluated; equal names are numbered."""
    stems: list[str] = []
    for _, report in found:
        stem = f"report_{HEAD_OF[report.config['linear']]}"
        stem += "_crops" if report.config["protocol"] == "crops" else ""
        stem += "_finetuned" if report.config["finetune"] != "none" else ""
        stem += "_autoattack" if report.config["autoattack"] else ""
        alike = sum(other.rstrip("0123456789") == stem for other in stems)
        stems.append(f"{stem}{alike + 1 if alike else ''}")
    return stems


def _report_files(found: Found) -> dict[str, bytes]:
    """The files of the reports by published name, without the folders of this machine."""
    files = {}
    for (path, _), stem in zip(found, _stems(found), strict=True):
        held = json.loads(path.read_text(encoding="utf-8"))
        folders = Folders(held)
        text = json.dumps(folders.without(held), indent=2, allow_nan=False) + "\n"
        files[f"{stem}.json"] = text.encode()
        words, picture = path.with_suffix(".md"), path.with_suffix(".png")
        if words.exists():
            text = folders.without(words.read_text(encoding="utf-8"))
            files[f"{stem}.md"] = text.replace("(report.png)", f"({stem}.png)").encode()
        if picture.exists():
            files[f"{stem}.png"] = picture.read_bytes()
    return files


def _described_file(
    folder: str, file_name: str, content: bytes, part_bytes: int | None = None
) -> StoredFile:
    path = f"{folder}/{file_name}"
    parts = []
    if part_bytes is not None and len(content) > part_bytes:
        pieces = [content[i : i + part_bytes] for i in range(0, len(content), part_bytes)]
        parts = [
            StoredFile(path=f"{path}.part{i}", size=len(p), sha256=sha256([p]))
            for i, p in enumerate(pieces)
        ]
    digest = sha256([content])
    return StoredFile(path=path, size=len(content), sha256=digest, parts=tuple(parts))


def _contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def _index_with(zoo: Path, entry: Entry) -> bytes:
    file = zoo / INDEX_FILE
    index = parse(file.read_text(encoding="utf-8"), file) if file.exists() else dict(EMPTY)
    others = [model for model in index["models"] if model["name"] != entry.name]
    models = sorted([*others, entry.to_dict()], key=lambda model: str(model["name"]))
    index |= {"format": FORMAT, "models": models}
    text = json.dumps(index, indent=2, allow_nan=False) + "\n"
    parse(text, "of the new model")
    return text.encode()


def _write(
    zoo: Path,
    entry: Entry,
    content: Mapping[str, tuple[str, bytes]],
    reports: Mapping[str, bytes],
    index: bytes,
) -> None:
    """Write the model's files, then the index, so that the index names only files that exist."""
    folder = zoo / "models" / entry.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, (_, data) in content.items():
            file = entry.files[kind]
            begin = 0
            for piece in file.parts or (file,):
                write_whole(zoo / piece.path, data[begin : begin + piece.size])
                begin += piece.size
        for name, data in reports.items():
            write_whole(folder / name, data)
        write_whole(folder / "README.md", card(entry))
        write_whole(zoo / INDEX_FILE, index)
    except OSError as error:
        raise UserError(f"Cannot write into '{zoo}' ({error.strerror}).") from error
