"""Knows where runs lie on disk, in solo-learn's layout, and finds the run to continue.

A checkpoint is ``<checkpoint.dir>/<method>/<version>/<name>-<version>-ep=N.ckpt``, or
``...-ep=N-batch=M.ckpt`` if only M batches of epoch N are done. ``args.json`` lies beside it.
"""

import csv
import json
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from solo_adv.encoders.checkpoint import position
from solo_adv.support.errors import UserError
from solo_adv.support.files import first_undamaged, given_path, write_whole
from solo_adv.support.settings import plain

CONFIG_FILE = "args.json"
ENDED = "ended"
"""The key of ``args.json`` that says that a run ended before its last epoch, as it should."""
# These settings may differ between a run and its continuation, because they do not change the
# result.
_NOT_PART_OF_THE_RESULT = (
    *("checkpoint", "auto_resume", "wandb", "tensorboard", "auto_umap"),
    *("accelerator", "log_every_n_steps", "resume_from_checkpoint", "max_time", "verbose", ENDED),
    *("logger", "profiler", "enable_progress_bar", "enable_model_summary", "detect_anomaly"),
)
_KEYS_NOT_PART_OF_THE_RESULT = {
    "data": (
        *("num_workers", "download", "resident", "max_resident_gib"),
        "num_classes",  # not known before the data are read
    ),
    "performance": ("keep_freed_memory",),
}


class Run:
    """The directory of one run.

    Args:
        cfg: complete config.
        version: name of the run's directory; None makes a new, random name.
    """

    def __init__(self, cfg: DictConfig, version: str | None = None) -> None:
        self.cfg = cfg
        self.version = version or f"offline-{secrets.token_hex(4)}"

    @property
    def directory(self) -> Path:
        """The directory that holds all files of the run."""
        return given_path(self.cfg.checkpoint.dir) / self.cfg.method / self.version

    @property
    def config_path(self) -> Path:
        """The file that holds the complete config of the run."""
        return self.directory / CONFIG_FILE

    def create(self) -> None:
        """Make the directory and write the config into it.

        Raises:
            UserError: the directory cannot be written.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # A run whose config is cut off would not be found again.
            write_whole(self.config_path, json.dumps(plain(self.cfg), indent=2))
        except OSError as error:
            raise UserError(
                f"checkpoint.dir={self.cfg.checkpoint.dir} cannot be written: {error}. "
                "Choose another with checkpoint.dir=DIR."
            ) from error

    def finish(self) -> None:
        """Note in ``args.json`` that the run ended before its last epoch and is not to continue."""
        write_whole(self.config_path, json.dumps({**plain(self.cfg), ENDED: True}, indent=2))

    def how_to_continue(self, checkpoint: Path) -> str:
        """Say what continues the run from its last checkpoint, for the middle of a sentence."""
        named = self.cfg.get("resume_from_checkpoint")
        if named is None and self.cfg.auto_resume.enabled:
            return "the same command"
        if named is not None and given_path(named).is_dir() and checkpoint.parent.samefile(named):
            return "the same command"
        return f"resume_from_checkpoint={checkpoint}"

    def checkpoint_path(self, epoch: int, batches: int | None = None) -> Path:
        """Path of the checkpoint after ``epoch``, counted from 0, or after some of its batches."""
        within = "" if batches is None else f"-batch={batches}"
        return self.directory / f"{self.cfg.name}-{self.version}-ep={epoch}{within}.ckpt"

    def checkpoints(self) -> list[Path]:
        """All checkpoints in the directory; the one furthest in training comes first."""
        return sorted(self.directory.glob("*.ckpt"), key=position, reverse=True)

    def last_checkpoint(self) -> Path | None:
        """The checkpoint furthest in training that is not damaged; a warning names damaged ones."""
        return first_undamaged(self.checkpoints())


def find_unfinished(cfg: DictConfig) -> Path | None:
    """Find the checkpoint to continue from, in the newest unfinished run of the same config.

    Checkpoints older than ``auto_resume.max_hours`` are not considered. All settings that change
    the result must agree: a run with another epsilon is another run.
    """
    oldest = (datetime.now() - timedelta(hours=cfg.auto_resume.max_hours)).timestamp()
    for checkpoint, saved in _checkpoints_of(cfg):
        if not is_finished(checkpoint, saved) and checkpoint.stat().st_mtime >= oldest:
            return checkpoint
    return None


def find_finished(cfg: DictConfig) -> Path | None:
    """The last checkpoint of the newest finished run of the same config."""
    return next((path for path, saved in _checkpoints_of(cfg) if is_finished(path, saved)), None)


def explain_difference(cfg: DictConfig) -> str | None:
    """Say why the newest run with the same name but another config is not continued.

    Returns:
        One line that lists the differing settings; None if there is no such run.
    """
    wanted = comparable(plain(cfg))
    for run, saved in _runs(cfg):
        there = comparable(saved)
        if saved.get("name") == cfg.name and there != wanted and run.checkpoints():
            return f"{run.directory} is not continued, it differs: {differences(there, wanted)}"
    return None


def _checkpoints_of(cfg: DictConfig) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The last checkpoint and the config of every run of the same config, the newest run first."""
    wanted = comparable(plain(cfg))
    for run, saved in _runs(cfg):
        if comparable(saved) == wanted:
            checkpoint = run.last_checkpoint()
            if checkpoint is not None:
                yield checkpoint, saved


def _runs(cfg: DictConfig) -> list[tuple[Run, dict[str, Any]]]:
    """Runs of the method with their configs; the run that saved last comes first."""
    found = []
    for args in (given_path(cfg.checkpoint.dir) / cfg.method).glob(f"*/{CONFIG_FILE}"):
        if saved := saved_config(args.parent):
            found.append((Run(cfg, version=args.parent.name), saved))
    return sorted(found, key=lambda pair: _last_written(pair[0]), reverse=True)


def saved_config(directory: Path) -> dict[str, Any]:
    """The config that a run wrote into its directory; empty if there is none to read."""
    try:
        saved = json.loads((directory / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return saved if isinstance(saved, dict) else {}


def last_metrics(directory: Path) -> dict[str, float]:
    """The last validation metrics of a run's log; the online kNN's accuracy comes last."""
    try:
        with (directory / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        return {}
    names = sorted({name for row in rows for name in row if name.startswith("val_")})
    names.sort(key="val_knn_acc1".__eq__)
    found = {name: [row[name] for row in rows if row[name]] for name in names}
    return {name: float(values[-1]) for name, values in found.items() if values}


def _last_written(run: Run) -> float:
    return max((path.stat().st_mtime for path in run.checkpoints()), default=0.0)


def is_finished(checkpoint: Path, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was written after the last epoch that its config asks for.

    A run that ``max_steps`` or a callback ended is finished as well.
    """
    return bool(config.get(ENDED)) or position(checkpoint) >= (config["max_epochs"], 0)


def ends_run(checkpoint: Path, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint, of this config, is the one with which its run was finished."""
    if is_finished(checkpoint, config):
        return True
    last = max(checkpoint.parent.glob("*.ckpt"), key=position)
    return is_finished(checkpoint, saved_config(checkpoint.parent) or config) and checkpoint == last


def check_ends_run(checkpoint: Path, config: Mapping[str, Any]) -> None:
    """Refuse a checkpoint with which its run was not finished.

    Raises:
        UserError: it is one.
    """
    if not ends_run(checkpoint, config):
        raise UserError(f"{checkpoint} is not the end of its run: let the run finish first.")


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the result depends on, as plain values of JSON."""
    kept = {k: v for k, v in config.items() if k not in _NOT_PART_OF_THE_RESULT}
    for name, left_out in _KEYS_NOT_PART_OF_THE_RESULT.items():
        if kept.get(name):
            kept[name] = {k: v for k, v in kept[name].items() if k not in left_out}
    # JSON turns the values into what args.json holds; tuples, for instance, become lists.
    held: dict[str, Any] = json.loads(json.dumps(kept))
    return held


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Name the settings that differ, with their values ``there`` and ``here``."""
    old, new = _flat(there), _flat(here)
    return "; ".join(
        f"{key} was {old.get(key, 'unset')}, is {new.get(key, 'unset')}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    )


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def ends_epoch(checkpoint: Path) -> bool:
    """Whether the checkpoint's name says that it was written at the end of an epoch."""
    return position(checkpoint)[1] == 0
