"""``python -m solo_adv.report DIR... [--output DIR] [--html FILE] [--tensorboard DIR] ...``."""

import argparse
from pathlib import Path

from solo_adv.support.cli import user_errors
from solo_adv.support.files import given_path


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Merge every report.json below the directories into one table and one picture."
    )
    parser.add_argument("directories", nargs="+", type=given_path, metavar="DIR")
    parser.add_argument(
        "--output",
        type=given_path,
        default=Path("."),
        metavar="DIR",
        help="where merged.md, .json and .png are written",
    )
    parser.add_argument(
        "--html",
        type=given_path,
        metavar="FILE",
        help="also write a page for the browser: a sortable table, and plots with published points",
    )
    parser.add_argument(
        "--pages",
        action="store_true",
        help="first write report.html beside every report.json that has none",
    )
    parser.add_argument(
        "--tensorboard",
        type=given_path,
        metavar="DIR",
        help="also write table, picture and accuracies of each report as a run of TensorBoard",
    )
    parser.add_argument(
        "--wandb",
        metavar="PROJECT",
        help="also send table, picture, accuracies and settings of each report to W&B",
    )
    given = parser.parse_args()
    from solo_adv.report import find_reports, merge, read_entry
    from solo_adv.report.sending import to_tensorboard, to_wandb
    from solo_adv.report.writing import write_missing_pages

    with user_errors():
        reports = find_reports(given.directories)
        pages = write_missing_pages(reports) if given.pages else []
        entries = [read_entry(file) for file in reports]
        for file in [*pages, *merge(entries, given.output, html=given.html)]:
            print(file)
        if given.tensorboard is not None:
            for folder in to_tensorboard(entries, given.tensorboard):
                print(folder)
        if given.wandb is not None:
            for name in to_wandb(entries, given.wandb):
                print(f"{given.wandb}: {name}")


if __name__ == "__main__":
    main()
