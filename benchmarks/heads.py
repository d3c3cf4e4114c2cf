"""Linear heads, and what PGD misses of them: ``python -m benchmarks.heads --data DIR``

Takes a model of the zoo and judges its encoder with several linear heads: fitted to convergence on
clean images with penalties (weight decay) of several sizes, and the published one that was trained
on attacked images (r-LE). Each is attacked by PGD-20 at 8/255 on the cross-entropy, and also on
the margin between logits. Where the two differ, logits are small: the row says how sure the head is
of clean images. AutoAttack of the published heads is taken from the model's reports, if they have
it on as many images.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.judging import cell, under_pgd
from benchmarks.record import RESULTS, device, store
from solo_adv import load_pretrained
from solo_adv.catalogue import index
from solo_adv.catalogue.entry import Entry
from solo_adv.data.labelled import load_labelled
from solo_adv.encoders.classifier import Classifier
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.judging import clean_accuracy
from solo_adv.evaluation.heads.features import extract
from solo_adv.report.measurement import AUTOATTACK, by_label
from solo_adv.support.cli import quiet_libraries, user_errors
from solo_adv.support.logistic import fit_logistic

MODEL = "cfamc_best_resnet18w16_cifar10"
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
EPSILON = "8/255"
ROBUST = "trained on attacked images"
USUAL_PENALTY = 1e-4
"""The penalty of the zoo's standard heads."""


def judged(bench: Bench, features: Tensor) -> dict[str, float]:
    """Accuracies in percent, and the mean probability of the likeliest class, of a classifier."""
    head: Any = bench.classifier.head
    with torch.no_grad():
        sure = head(features).softmax(1).amax(1).mean()
    usual, both = under_pgd(bench, EPSILON)
    found = {
        "clean": 100 * clean_accuracy(bench).top1.accuracy,
        "cross_entropy": usual,
        "both_losses": both,
        "mean_probability": float(sure),
    }
    return {name: round(value, 6) for name, value in found.items()}


def autoattack(entry: Entry, linear: str, images: int) -> float | None:
    """The published accuracy in percent under AutoAttack; None if there is none on so many."""
    for evaluation in entry.evaluations:
        found = by_label(evaluation.measurements).get(f"{AUTOATTACK} at {EPSILON}")
        if evaluation.linear == linear and found is not None and found.total == images:
            return round(100 * found.accuracy, 6)
    return None


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| head | sure of clean images | clean | cross-entropy | both losses | AutoAttack |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        told = [row["clean"], row["cross_entropy"], row["both_losses"], row["autoattack"]]
        cells = " | ".join(map(cell, told))
        lines.append(f"| {row['head']} | {row['mean_probability']:.2f} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    """Judge the heads that are missing, store each row at once, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MODEL, help="a name of the zoo")
    parser.add_argument("--data", type=Path, help="where its data are, if not where they were")
    parser.add_argument("--penalties", type=float, nargs="+", default=PENALTIES)
    parser.add_argument("--test-images", type=int, default=1_000)
    parser.add_argument("--output", type=Path, default=RESULTS / "heads.json")
    options = parser.parse_args()
    quiet_libraries()
    with user_errors():
        entry = index.find(options.model)
        encoder = load_pretrained(options.model).to(device())
        given = {} if options.data is None else {"train_path": str(options.data.resolve())}
        sets = load_labelled(entry.training["config"]["data"], given, input_size=entry.image_size)
        features, labels = extract(encoder, sets[0], 500, device())
        rows = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
        done = {(row["model"], row["head"], row["test_images"]) for row in rows}
        for penalty in (*options.penalties, None):
            name = ROBUST if penalty is None else f"penalty {penalty:g}"
            if (options.model, name, options.test_images) in done:
                continue
            head: Any
            if penalty is None:
                head = load_pretrained(options.model, head="robust_linear").head
            else:
                head, _ = fit_logistic(features, labels, sets[0].num_classes, penalty=penalty)
            classifier = Classifier(encoder, head.to(device()))
            bench = Bench(classifier, sets[1], 250, device()).drawn(options.test_images)
            linear = {None: "robust", USUAL_PENALTY: "standard"}.get(penalty)
            found = None if linear is None else autoattack(entry, linear, options.test_images)
            row = {"model": options.model, "head": name, "test_images": options.test_images}
            rows.append({**row, **judged(bench, features), "autoattack": found})
            store("heads", {"rows": rows}, options.output)
            print(table(rows[-1:]), flush=True)
        print(table(rows))


if __name__ == "__main__":
    main()
