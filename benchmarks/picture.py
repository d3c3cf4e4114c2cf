"""``python -m benchmarks.picture``: the picture of the README, from the result file of the demo."""

import argparse
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.record import RESULTS

WORDS = {
    "emp_ssl": "EMP-SSL: self-supervised",
    "cfamc": "CF-AMC-SSL: self-supervised and robust",
}


def curve(row: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Epsilons in 255ths, beginning with 0, and the accuracies in percent there."""
    if "accuracies" in row:
        attacked = {
            label.rpartition(" at ")[2]: value
            for label, value in row["accuracies"].items()
            if label.startswith("PGD-20 at ")
        }
        clean = row["accuracies"]["clean"]
    else:
        attacked = {attack["epsilon"]: attack["accuracy"] for attack in row["attacks"]}
        clean = row["clean"]
    epsilons = [0.0, *(255 * float(Fraction(epsilon)) for epsilon in attacked)]
    return epsilons, [100 * value for value in (clean, *attacked.values())]


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw a line for each method of the demo into a PNG."""
    figure = Figure(figsize=(6.4, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, colour in zip(rows, ("#8c959f", "#0969da"), strict=True):
        epsilons, accuracies = curve(row)
        label = WORDS.get(row["method"], row["method"])
        axes.plot(epsilons, accuracies, marker="o", linewidth=2.5, color=colour, label=label)
    axes.set_xticks(epsilons, ["no attack", *(f"{epsilon:.0f}/255" for epsilon in epsilons[1:])])
    axes.set_ylim(0, 103)
    axes.set_xlabel("attack: PGD-20, every pixel changed by at most")
    axes.set_ylabel("accuracy in %")
    axes.set_title(
        f"{rows[0]['num_images']} handwritten digits, equal cost of training", fontsize=11
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(file, metadata={"Software": None})


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS / "demo.json", help="to draw")
    parser.add_argument("--output", type=Path, default=Path("docs/demo.png"), help="PNG to write")
    given = parser.parse_args()
    draw(json.loads(given.results.read_text()), given.output)
    print(given.output)


if __name__ == "__main__":
    main()
