"""Writes a report: the JSON, the pages, the picture and the head that was judged."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from solo_adv.report.examples import Examples
from solo_adv.report.html.page import page as html_page
from solo_adv.report.markdown import page
from solo_adv.report.record import FILE, Report
from solo_adv.support.files import write_files

FILES = {
    "head": "head.safetensors",
    "html": "report.html",
    "png": "report.png",
    "md": "report.md",
    "json": FILE,
}
"""The files of a report by kind, in the order in which they are written. The JSON comes last: where
it exists, the others do, too."""
HEAD_FILE = FILES["head"]


def write_report(
    report: Report,
    directory: str | Path,
    *,
    examples: Examples | None = None,
    head: Mapping[str, Tensor] | None = None,
) -> dict[str, Path]:
    """Write ``report.json``, ``.md``, ``.png``, ``.html`` and ``head.safetensors``.

    The directory is made if it does not exist. Each file appears whole or not at all, and the JSON
    is written last.

    Args:
        report: the report to write.
        directory: where to write it.
        examples: images to show beside the curve; with None, only the curve is shown.
        head: weights of the head that was judged, which are written too; None if the encoder was
            fine-tuned with it.

    Returns:
        The paths by kind: ``head`` (if it was given), ``html``, ``png``, ``md``, ``json``.

    Raises:
        UserError: the directory cannot be written to.
    """
    from solo_adv.report.picture import draw  # noqa: PLC0415  matplotlib is slow to load

    content: dict[str, str | bytes] = {} if head is None else {"head": save(dict(head))}
    content |= {
        "html": html_page(report, examples),
        "png": draw(report, examples),
        "md": page(report),
        "json": json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n",
    }
    paths = {kind: Path(directory) / FILES[kind] for kind in content}
    files = {paths[kind]: file for kind, file in content.items()}
    write_files(files, "the report", remedy="Choose another directory.")
    return paths


def write_missing_pages(files: Iterable[Path]) -> list[Path]:
    """Write the page of every report that has none. Such a page shows no attacked images.

    Args:
        files: the ``report.json`` files.

    Returns:
        The written pages.

    Raises:
        UserError: a file is not a report, or a page cannot be written.
    """
    pages: dict[Path, str | bytes] = {}
    for file in files:
        place = file.with_suffix(".html")
        if not place.exists():
            pages[place] = html_page(Report.read(file))
    write_files(pages, "the page", remedy="Copy the reports to where you can write.")
    return list(pages)


def written_files(directory: Path) -> dict[str, Path]:
    """The files that :func:`write_report` left in a directory, by kind."""
    paths = {kind: directory / name for kind, name in FILES.items()}
    return {kind: path for kind, path in paths.items() if path.exists()}
