"""Accuracy by how much of an image is seen: ``python -m benchmarks.share RUN [RUN ...]``

Methods with many crops train on small parts of images and are judged on whole images. For each run
this cuts square crops of a given share of the area, one from each image at a random place, fits a
linear head to convergence on such crops of the train images, and measures it on such crops of test
images, clean and under PGD-20. If a method loses robustness only because whole images are not what
it was trained on, it keeps as much of its accuracy as others on small shares, and less on whole
images.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torchvision.transforms.v2.functional import resized_crop

from benchmarks.judging import EPSILONS, TEST_IMAGES, judged
from benchmarks.record import RESULTS, store
from solo_adv import load_pretrained
from solo_adv.data import ImageSet
from solo_adv.data.labelled import load_labelled
from solo_adv.support.checks import number
from solo_adv.support.cli import quiet_libraries, user_errors

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
EPSILON = EPSILONS[-1]


def cut(images: ImageSet, share: float, seed: int) -> ImageSet:
    """A square crop of each image, of a share of its area, at a random place, in its own size.

    Args:
        images: a resident set of square images.
        share: in (0, 1]; with 1 the images stay what they are.
        seed: seed of the places.

    Raises:
        UserError: the share is out of range.
    """
    number("--shares", share, above_zero=True, most=1)
    size = images.images.shape[-1]
    side = max(1, round(size * share**0.5))
    places = torch.randint(
        size - side + 1, (len(images), 2), generator=torch.Generator().manual_seed(seed)
    )
    crops = [
        resized_crop(image, top, left, side, side, [size, size], antialias=True)
        for image, (top, left) in zip(images.images, places.tolist(), strict=True)
    ]
    return ImageSet(images.name, images.labels, images.classes, images=torch.stack(crops))


def named(given: str) -> tuple[str, str]:
    """Split ``[LABEL=]RUN``. The name of a checkpoint may have a ``=``, a label has no slash."""
    label, equals, path = given.partition("=")
    return (label, path) if equals and "/" not in label else (given, given)


def measured(run: str, share: float, test_images: int, features: str) -> dict[str, float]:
    """The accuracies of a run on crops of a share of the area, in percent."""
    encoder = load_pretrained(run, features=features)
    train_set, test_set = load_labelled(encoder.config["data"], {})
    return judged(encoder, cut(train_set, share, 1), cut(test_set, share, 2), test_images)


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown: what a run keeps of its clean accuracy at each share."""
    lines = [
        f"| run | share of the area | clean | {EPSILON} | kept |",
        "|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        kept = row[EPSILON] / row["clean"] if row["clean"] else 0.0
        cells = [row["run"], f"{row['share']:g}", f"{row['clean']:.1f}", f"{row[EPSILON]:.1f}"]
        lines.append(f"| {' | '.join(cells)} | {kept:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the rows that are missing, store each at once, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="[LABEL=]RUN",
        help="a checkpoint, the directory of a run, or a name of the zoo",
    )
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--features", default="backbone")
    parser.add_argument("--test-images", type=int, default=TEST_IMAGES)
    parser.add_argument("--output", type=Path, default=RESULTS / "share.json")
    options = parser.parse_args()
    quiet_libraries()
    with user_errors():
        held = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
        done = {(row["run"], row["share"]) for row in held}
        for given in options.runs:
            label, path = named(given)
            for share in options.shares:
                if (label, share) in done:
                    continue
                found = measured(path, share, options.test_images, options.features)
                held.append({"run": label, "features": options.features, "share": share, **found})
                store("share", {"rows": held}, options.output)
                print(table(held[-1:]), flush=True)
        print(table(held))


if __name__ == "__main__":
    main()
