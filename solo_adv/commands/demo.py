"""Does adversarial training make SSL features robust? This demo needs no downloaded data.

It pretrains CF-AMC-SSL and, with the same crops and the same number of crop passes, EMP-SSL on
scikit-learn's handwritten digits, attacks both, and prints one table. It takes minutes on two CPU
cores.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from solo_adv.report.measurement import CLEAN, KNN
from solo_adv.report.record import Report
from solo_adv.support.cli import quiet_libraries, user_errors
from solo_adv.support.configs import composed, next_command
from solo_adv.support.files import given_path, write_whole
from solo_adv.support.terminal import print_table

# Both methods get the same crops and the same number of crop passes (10 epochs of 3 replays, or 30
# epochs of one), so that they differ in the adversary only.
METHODS = {
    "emp_ssl": ["crops=multi_crop", "crops.num_crops=8", "max_epochs=30"],
    "cfamc": ["crops.num_crops=8", "max_epochs=10"],
}


def demo(directory: Path) -> list[Report]:
    """Run both methods below ``directory`` and print the table and the reports' paths."""
    from solo_adv.evaluation.evaluating import evaluate
    from solo_adv.training.pretraining import pretrain

    started = time.monotonic()
    reports, files, minutes = [], [], []
    for method, overrides in METHODS.items():
        print(f"\n{method}: pretraining", flush=True)
        begun = time.monotonic()
        settings = [
            "data=digits",
            f"checkpoint.dir='{directory / 'trained_models'}'",
            "auto_resume.enabled=false",
            "accelerator=cpu",
            "precision=32-true",  # auto would be bfloat16 on some processors
        ]
        cfg = composed(method, [*settings, *overrides])
        checkpoint = pretrain(cfg)
        minutes.append((time.monotonic() - begun) / 60)
        cfg = composed("robust", ["accelerator=cpu", f"results_dir='{directory / 'results'}'"])
        cfg.checkpoint = str(checkpoint)
        report, written = evaluate(cfg)
        reports.append(report)
        files.append(written)
    print_table(_table(reports, minutes))
    summary = directory / "summary.json"
    write_whole(summary, json.dumps(_summary(reports, minutes), indent=2) + "\n")
    print(
        "Accuracy in % on the 500 test digits, linear head on frozen features. PGD-20 changes\n"
        "every pixel by at most the fraction shown. A crop pass: one crop, forward and backward.\n"
    )
    for written in files:
        print(written["json"])
        print(written["html"])
    print(summary)
    print(f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes.")
    print(f"Next, on CIFAR-10: {next_command('pretrain', '--config-name', 'cfamc.yaml')}")
    return reports


def _summary(reports: list[Report], minutes: list[float]) -> list[dict[str, Any]]:
    """The contents of the table as numbers (accuracies as fractions), and the hardware used."""
    return [
        {
            "method": report.method,
            "crop_passes": report.crop_passes,
            "pretraining_minutes": round(spent, 2),
            "accuracies": {m.label: m.accuracy for m in report.measurements},
            "num_images": report.num_images,
            "hardware": report.hardware,
            "versions": report.versions,
            "git_commit": report.git_commit,
            "date": report.date,
        }
        for report, spent in zip(reports, minutes, strict=True)
    ]


def _table(reports: list[Report], minutes: list[float]) -> Table:
    table = Table(title="Handwritten digits, self-supervised, under attack")
    table.add_column("method")
    shown = [KNN, CLEAN, *(attack.label for attack in reports[0].attacks)]
    for name in ("crop passes", "minutes", *shown):
        table.add_column(name, justify="right")
    for report, spent in zip(reports, minutes, strict=True):
        figures = [f"{100 * report.by_label[label].accuracy:.1f}" for label in shown]
        table.add_row(report.method, f"{report.crop_passes:,}", f"{spent:.1f}", *figures)
    return table


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--directory", type=given_path, default=Path("demo"), help="where all output goes"
    )
    directory = parser.parse_args().directory
    quiet_libraries()
    with user_errors():
        demo(directory)


if __name__ == "__main__":
    main()
