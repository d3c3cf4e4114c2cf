"""Evaluating a checkpoint as a config says: from its path to the written report."""

from dataclasses import replace
from pathlib import Path

import torch
from omegaconf import DictConfig

from solo_adv.data.labelled import load_labelled
from solo_adv.encoders.checkpoint import find_checkpoint
from solo_adv.encoders.foreign import EncoderSettings
from solo_adv.encoders.loading import encoder_from
from solo_adv.encoders.weights import read_head
from solo_adv.evaluation.robust import evaluate_robustness
from solo_adv.evaluation.settings import RobustSettings
from solo_adv.report.record import Report
from solo_adv.report.writing import write_report
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError
from solo_adv.support.processes import first_process_first, local_device, rank
from solo_adv.support.settings import plain

ACCELERATORS = ("auto", "cpu", "cuda")


def evaluate(cfg: DictConfig, *, quiet: bool = False) -> tuple[Report, dict[str, Path]]:
    """Evaluate as a config (see ``solo_adv/conf/robust.yaml``) says and write the report.

    Under torchrun every process calls it; the first one writes.

    Returns:
        The report, and the paths of its files by kind (see :func:`write_report`); in processes
        other than the first, no files.

    Raises:
        UserError: a setting, the checkpoint or the data cannot be used.
    """
    settings = plain(cfg)
    path = settings.pop("checkpoint")
    data, results = settings.pop("data", None) or {}, Path(settings.pop("results_dir"))
    device = _device(settings.pop("accelerator"))
    head_weights = settings.pop("head_weights", None)
    built = EncoderSettings.from_config(settings.pop("encoder", None) or {})
    robust = RobustSettings.from_config(settings)
    if path is None:
        raise UserError("checkpoint=PATH is missing: the .ckpt file or run directory to evaluate.")
    checkpoint = find_checkpoint(path)
    encoder = encoder_from(checkpoint, features=robust.features, settings=built)
    robust = replace(robust, features=encoder.features)
    head = None if head_weights is None else read_head(head_weights, encoder.features_dim)
    config = encoder.config
    directory = results / config["method"] / checkpoint.parent.name / robust.variant
    with first_process_first():
        train_set, test_set = load_labelled(config["data"], data)
    if not quiet and rank() == 0:
        print(f"Evaluating {checkpoint} ({config['method']}) on {device}")
    outcome = evaluate_robustness(
        encoder,
        train_set,
        test_set,
        robust,
        method=config["method"],
        checkpoint=str(checkpoint),
        pretrain_config=config,
        device=device,
        crop_passes=encoder.crop_passes,
        directory=directory / "progress",
        head=head,
        quiet=quiet,
    )
    if rank() > 0:
        return outcome.report, {}
    return outcome.report, write_report(
        outcome.report, directory, examples=outcome.examples, head=outcome.head
    )


def _device(accelerator: str) -> torch.device:
    choice("accelerator", accelerator, ACCELERATORS)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("accelerator=cuda: torch sees no CUDA device; use accelerator=cpu.")
    return local_device(accelerator)
