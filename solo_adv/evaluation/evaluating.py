"""Evaluates a checkpoint as a config says, from its path to the written report."""

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from solo_adv.data import ImageSet
from solo_adv.data.config import DataConfig
from solo_adv.data.labelled import labelled_splits
from solo_adv.data.labels import labels_on_record
from solo_adv.data.transfer import transfer_on_record
from solo_adv.encoders.encoder import Encoder
from solo_adv.encoders.foreign import EncoderSettings
from solo_adv.encoders.image_size import fit_to_images
from solo_adv.encoders.weights import read_head
from solo_adv.evaluation.results import (
    directory_name,
    find_report,
    other_code,
    result_fingerprint,
)
from solo_adv.evaluation.robust import (
    data_on_record,
    evaluate_robustness,
    weights_on_record,
)
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.pretrained import file_of, load_pretrained
from solo_adv.report.record import Report
from solo_adv.report.writing import write_report, written_files
from solo_adv.support.allocator import keep_freed_memory
from solo_adv.support.checks import choice, flag
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path, require_writable
from solo_adv.support.processes import first_process_first, from_first, local_device, rank
from solo_adv.support.settings import plain

ACCELERATORS = ("auto", "cpu", "cuda")


def evaluate(cfg: DictConfig, *, quiet: bool = False) -> tuple[Report, dict[str, Path]]:
    """Evaluate as a config (see ``solo_adv/conf/robust.yaml``) says and write the report.

    If there is a report of exactly this measurement already, it is read instead, unless ``again``
    is set. An interrupted evaluation continues. Under torchrun every process calls this function,
    and the first one writes.

    Args:
        cfg: the config.
        quiet: whether to print nothing.

    Returns:
        The report, and the paths of its files by kind (see :func:`write_report`). Processes other
        than the first return no files.

    Raises:
        UserError: a setting, the checkpoint, the data or the directory of the report cannot be
            used, or the existing report is damaged.
    """
    asked = _asked(cfg)
    saying = not quiet and rank() == 0
    found = None
    if rank() == 0 and not asked.again:
        found = find_report(asked.directory, asked.measured)
    found = from_first(found)
    if found is not None:
        if saying:
            print(f"Measured before: {asked.directory} (again=true measures anew)")
            if (other := other_code(found)) is not None:
                print(f"It was measured with other versions than today's: {other}")
        return found, written_files(asked.directory) if rank() == 0 else {}
    method = asked.encoder.config["method"]
    if saying:
        print(f"Evaluating {asked.checkpoint} ({method}) on {asked.device}")
    if rank() == 0:
        require_writable(
            asked.directory, "the report", remedy="Choose another place by results_dir=DIR."
        )
    progress = asked.directory / "progress"
    outcome = evaluate_robustness(
        asked.encoder,
        asked.train_set,
        asked.test_set,
        asked.settings,
        method=method,
        checkpoint=asked.checkpoint,
        pretrain_config=asked.encoder.config,
        device=asked.device,
        crop_passes=asked.encoder.crop_passes,
        directory=progress,
        head=asked.head,
        origin=asked.origin,
        quiet=quiet,
    )
    outcome.report.given = asked.given
    if rank() > 0:
        return outcome.report, {}
    written = write_report(
        outcome.report, asked.directory, examples=outcome.examples, head=outcome.head
    )
    shutil.rmtree(progress, ignore_errors=True)  # so that again=true starts from the beginning
    return outcome.report, written


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """The contents of a config, with everything that it names loaded."""

    checkpoint: str
    encoder: Encoder
    head: nn.Linear | None
    train_set: ImageSet
    test_set: ImageSet
    origin: dict[str, Any]
    """Which labels were drawn, and from which data set to which the encoder was transferred, for
    the report."""
    settings: RobustSettings
    device: torch.device
    again: bool
    measured: str
    """The :func:`result_fingerprint`."""
    given: dict[str, Any]
    """The settings of the data, of a foreign encoder, and the head, that the config gives."""
    directory: Path
    """The directory of the result."""


def _asked(cfg: DictConfig) -> _Asked:
    given = plain(cfg)
    path = given.pop("checkpoint")
    data, results = given.pop("data", None) or {}, given_path(given.pop("results_dir"))
    again = given.pop("again", False)
    flag("again", again)
    device = device_of(given.pop("accelerator"))
    if device.type == "cpu":
        keep_freed_memory()
    head_weights = given.pop("head_weights", None)
    foreign = given.pop("encoder", None) or {}
    built = EncoderSettings.from_config(foreign)
    settings = RobustSettings.from_config(given)
    if path is None:
        raise UserError(
            "checkpoint=PATH is missing: the .ckpt file or run directory to evaluate, or a name of "
            "the zoo."
        )
    checkpoint = file_of(path)
    encoder = load_pretrained(path, features=settings.features, settings=built)
    settings = replace(settings, features=encoder.features)
    head = None if head_weights is None else read_head(head_weights, encoder.features_dim)
    config = encoder.config
    central = settings.protocol == "central"  # crops are drawn of whole images
    data_config = DataConfig.for_evaluation(
        config["data"], data, input_size=encoder.image_size, whole=not central
    )
    with first_process_first():
        train_set, test_set = labelled_splits(data_config)
    if central:
        fit_to_images(encoder, *test_set[0][0].shape[1:])
    on_record = data_on_record(train_set, test_set)
    head_state = None if head is None else head.state_dict()
    weights = weights_on_record(encoder, head_state, given=head is not None)
    measured = result_fingerprint(settings.to_config(), config, on_record, weights)
    # The name of a model that is loaded by name takes the part of the run's version.
    by_name = Path(re.sub(r"[^\w.]+", "-", str(path)), "model")
    place = by_name if checkpoint is None else checkpoint.resolve()
    name = directory_name(
        place,
        settings,
        data=data_config,
        dataset=on_record["name"],
        head_given=head is not None,
        measured=measured,
    )
    return _Asked(
        checkpoint=str(path if checkpoint is None else checkpoint),
        encoder=encoder,
        head=head,
        train_set=train_set,
        test_set=test_set,
        origin={
            **labels_on_record(data_config.labels, data_config.labels_seed, train_set.labels),
            **transfer_on_record(config["data"], data_config, train_set),
        },
        given={
            **{f"data.{name}": value for name, value in data.items() if value is not None},
            **{f"encoder.{name}": value for name, value in foreign.items() if value is not None},
            **({} if head_weights is None else {"head_weights": str(head_weights)}),
        },
        settings=settings,
        device=device,
        again=again,
        measured=measured,
        directory=results / config["method"] / place.parent.name / name,
    )


def device_of(accelerator: str) -> torch.device:
    """The device of this process that ``accelerator`` (one of ``ACCELERATORS``) stands for.

    Raises:
        UserError: it is unknown, or there is no such device.
    """
    choice("accelerator", accelerator, ACCELERATORS)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("accelerator=cuda: torch sees no CUDA device; use accelerator=cpu.")
    return local_device(accelerator)
