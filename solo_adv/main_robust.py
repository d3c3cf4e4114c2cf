"""How robust is an encoder? ``main_robust.py checkpoint=PATH [linear=robust] [key=value ...]``.

On several devices: ``torchrun --nproc-per-node N main_robust.py ...``, with the same result.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from solo_adv.checkpoint import EncoderSettings, find_checkpoint, load_pretrained
from solo_adv.checks import choice
from solo_adv.cli import run_app
from solo_adv.data import DataConfig, ImageSet, load_split
from solo_adv.errors import UserError
from solo_adv.evaluation import Report, RobustSettings, evaluate_robustness
from solo_adv.evaluation.processes import (
    first_process_first,
    local_device,
    process_group,
    rank,
)
from solo_adv.methods.settings import plain
from solo_adv.weights import read_head

ACCELERATORS = ("auto", "cpu", "cuda")


def evaluate(cfg: DictConfig, *, quiet: bool = False) -> tuple[Report, dict[str, Path]]:
    """Evaluate as a config (see ``solo_adv/conf/robust.yaml``) says and write the report.

    Under torchrun every process calls it; the first one writes.

    Returns:
        The report, and the paths of its files by kind (see :meth:`Report.write`); in processes
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
    encoder = load_pretrained(checkpoint, features=robust.features, settings=built)
    robust = replace(robust, features=encoder.features)
    head = None if head_weights is None else read_head(head_weights, encoder.features_dim)
    config = encoder.config
    directory = results / config["method"] / checkpoint.parent.name / robust.variant
    with first_process_first():
        train_set, test_set = load_labelled(config["data"], data)
    if not quiet and rank() == 0:
        print(f"Evaluating {checkpoint} ({config['method']}) on {device}")
    report = evaluate_robustness(
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
    return report, report.write(directory) if rank() == 0 else {}


def load_labelled(
    pretraining: dict[str, Any], overrides: dict[str, Any]
) -> tuple[ImageSet, ImageSet]:
    """Train and test split of the data that an encoder was pretrained on, or of others.

    Args:
        pretraining: ``data`` section of the pretraining config.
        overrides: what is not None in it replaces the pretraining run's.

    Raises:
        UserError: the data cannot be read, or there is no labelled test split.
    """
    config = DataConfig.for_evaluation(pretraining, overrides)
    train_set, test_set = load_split(config, "train"), load_split(config, "test")
    if train_set is None or test_set is None:
        raise UserError(
            f"data.dataset={config.dataset} has no test split here; give one with "
            "data.val_path=PATH."
        )
    return train_set, test_set


def _device(accelerator: str) -> torch.device:
    choice("accelerator", accelerator, ACCELERATORS)
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UserError("accelerator=cuda: torch sees no CUDA device; use accelerator=cpu.")
    return local_device(accelerator)


def _run(cfg: DictConfig) -> None:
    with process_group():
        _, files = evaluate(cfg)
    if files:
        print(files["md"].read_text())
    for file in files.values():
        print(file)


def main() -> None:
    """The command line."""
    run_app(_run, config_name="robust")


if __name__ == "__main__":
    main()
