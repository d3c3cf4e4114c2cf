"""Merges many report files into one table and one picture."""

import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from solo_adv.report.entries import Entry, read_entry
from solo_adv.report.tables import markdown, screen, to_dict
from solo_adv.support.files import write_files
from solo_adv.support.terminal import print_table


def merge(
    reports: Iterable[Entry | str | Path],
    directory: str | Path,
    *,
    html: str | Path | None = None,
    quiet: bool = False,
) -> list[Path]:
    """Merge reports into a table, print it, and write it into ``directory``.

    The files are ``merged.md``, ``merged.json`` and, if there is anything to draw, ``merged.png``.

    Args:
        reports: the reports, as :func:`read_entry` reads them, or their files.
        directory: where to write; it is made if it does not exist.
        html: a file for a page that ranks the reports (see :func:`leaderboard`); None writes none.
        quiet: whether to print nothing.

    Returns:
        The written files.

    Raises:
        UserError: a file is not a report, or the directory or the page cannot be written.
    """
    from solo_adv.report.tradeoff import draw  # noqa: PLC0415  matplotlib is slow to load

    read = (entry if isinstance(entry, Entry) else read_entry(Path(entry)) for entry in reports)
    entries = sorted(read, key=lambda e: (e.dataset, e.model, e.evaluation))
    if not quiet:
        console = Console()
        print_table(screen(entries), keys=2, console=console)
        for entry in entries:
            for alarm in entry.report.alarms:
                text = f"ALARM {entry.model}, {entry.evaluation}: {alarm}"
                console.print(escape(text), style="red", highlight=False, soft_wrap=True)
    picture = draw(entries)
    content: dict[str, str | bytes] = {
        "md": markdown(entries, picture is not None),
        "json": json.dumps(to_dict(entries), indent=2) + "\n",
    }
    if picture is not None:
        content["png"] = picture
    paths = {Path(directory) / f"merged.{kind}": file for kind, file in content.items()}
    write_files(paths, "the table", remedy="Choose another --output.")
    if html is None:
        return list(paths)
    from solo_adv.report.html.leaderboard import leaderboard  # noqa: PLC0415

    page = Path(html)
    content_of_page = leaderboard(entries, page.parent)
    write_files({page: content_of_page}, "the page", remedy="Choose another --html.")
    return [*paths, page]
