"""Writing a report: the JSON, the Markdown page, the picture and the head that was judged."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from solo_adv.report.examples import Examples
from solo_adv.report.markdown import page
from solo_adv.report.record import FILE, Report
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole

FILES = {"head": "head.safetensors", "png": "report.png", "md": "report.md", "json": FILE}
"""What is written beside each other, by kind and in this order: the JSON says that all is there."""
HEAD_FILE = FILES["head"]


def write_report(
    report: Report,
    directory: str | Path,
    *,
    examples: Examples | None = None,
    head: Mapping[str, Tensor] | None = None,
) -> dict[str, Path]:
    """Write ``report.json``, ``.md`` and ``.png`` and ``head.safetensors`` into ``directory``.

    The directory is made if need be. Each file appears whole or not at all, the JSON last.

    Args:
        examples: are drawn beside the curve; None: only the curve.
        head: weights of the head that was judged; None: the encoder was fine-tuned with it.

    Returns:
        The paths by kind: ``head`` (where there is one), ``png``, ``md``, ``json``.

    Raises:
        UserError: the directory cannot be written to.
    """
    from solo_adv.report.picture import draw  # noqa: PLC0415  matplotlib is slow to load

    content = {} if head is None else {"head": save(dict(head))}
    content |= {
        "png": draw(report, examples),
        "md": page(report).encode(),
        "json": (json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n").encode(),
    }
    directory = Path(directory)
    paths = {kind: directory / FILES[kind] for kind in content}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for kind, path in paths.items():
            write_whole(path, content[kind])
    except OSError as error:
        raise UserError(
            f"Cannot write the report into '{directory}' ({error.strerror}). "
            "Choose another directory."
        ) from error
    return paths


def written_files(directory: Path) -> dict[str, Path]:
    """The files that :func:`write_report` left in a directory, by kind."""
    paths = {kind: directory / name for kind, name in FILES.items()}
    return {kind: path for kind, path in paths.items() if path.exists()}
