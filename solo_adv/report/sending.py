"""Sends reports to TensorBoard and W&B: the table of accuracies, the picture and the settings."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from solo_adv.report.entries import Entry
from solo_adv.report.markdown import page
from solo_adv.report.record import Report
from solo_adv.report.writing import FILES
from solo_adv.support.errors import UserError
from solo_adv.support.hashes import sha256

COLUMNS = ("measurement", "accuracy, %", "95 % from", "to", "images")


def rows(report: Report) -> list[list[Any]]:
    """The table of a report: a row for each measurement, in the order of ``COLUMNS``."""
    return [
        [m.label, 100 * m.accuracy, *(100 * bound for bound in m.interval), m.total]
        for m in report.measurements
    ]


def to_tensorboard(entries: Iterable[Entry], directory: Path) -> list[Path]:
    """Write each report as a run of TensorBoard: its text, picture and accuracies.

    Sending a report again replaces what was sent before.

    Args:
        entries: the reports.
        directory: the log directory for ``tensorboard --logdir``; each report gets a folder in it.

    Returns:
        The folders.

    Raises:
        UserError: tensorboard is not installed, or the directory cannot be written.
    """
    folders = []
    with _explained("tensorboard"):
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  an extra

        for entry in entries:
            folder = directory / run_name(entry)
            for earlier in folder.glob("events.out.tfevents.*"):
                earlier.unlink()
            with SummaryWriter(str(folder)) as writer:
                writer.add_text("report", page(entry.report))
                for label, value in _accuracies(entry.report).items():
                    writer.add_scalar(label, value)
                if (picture := _picture(entry)) is not None:
                    writer.add_image("report", picture, dataformats="HWC")
            folders.append(folder)
    return folders


def to_wandb(entries: Iterable[Entry], project: str) -> list[str]:
    """Send each report as a run of W&B: its table, picture, accuracies and settings.

    Sending a report again replaces what was sent before. W&B's environment variables choose the
    account, and ``WANDB_MODE=offline`` keeps the runs on disk.

    Args:
        entries: the reports.
        project: the project's name.

    Returns:
        The names of the runs.

    Raises:
        UserError: wandb is not installed or cannot be reached.
    """
    names = []
    with _explained("wandb"):
        import wandb  # noqa: PLC0415  an extra

        for entry in entries:
            report, name = entry.report, run_name(entry)
            identity = sha256([str(entry.file).encode()])[:16]
            config = {"method": report.method, "data": report.data, **report.config}
            run = wandb.init(project=project, name=name, id=identity, resume="allow", config=config)
            shown: dict[str, Any] = {
                "report": wandb.Table(columns=list(COLUMNS), data=rows(report)),
                **_accuracies(report),
            }
            if (picture := _picture(entry)) is not None:
                shown["picture"] = wandb.Image(picture)
            run.log(shown)
            run.finish()
            names.append(name)
    return names


def run_name(entry: Entry) -> str:
    """The run under which a report is shown: its directory and the two above, as results lie."""
    return "/".join(entry.file.parent.parts[-3:])


def _accuracies(report: Report) -> dict[str, float]:
    return {m.label: 100 * m.accuracy for m in report.measurements}


def _picture(entry: Entry) -> Any:
    """The picture beside the report, uint8 (H, W, 3); None if there is none."""
    import numpy as np  # noqa: PLC0415
    from PIL import Image  # noqa: PLC0415

    file = entry.file.with_name(FILES["png"])
    return np.array(Image.open(file).convert("RGB")) if file.is_file() else None


@contextmanager
def _explained(extra: str) -> Iterator[None]:
    """Say in one line why a report cannot be sent."""
    try:
        yield
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(f"{error}. Install it with pip install 'solo-adv[{extra}]'.") from error
    except Exception as error:  # W&B raises many types of its own
        reason = " ".join(str(error).split())
        raise UserError(f"The reports cannot be sent to {extra}: {reason}") from error
