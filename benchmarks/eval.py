"""Time of parts of an evaluation against a naive version and a floor: ``python -m benchmarks.eval``

- ``linear``: a head on cached features; naive: the same with a DataLoader; floor: the passes of the
  features through the head.
- ``robust``: the robust head (r-LE); naive: an attack that computes weight gradients, in NCHW;
  floor: the passes of the encoder.
- ``knn``: naive: one test image after another; floor: the similarities and the k largest of them.
- ``autoattack``: the passes of each attack of AutoAttack; naive: pyautoattack itself, which must
  make as many; floor: the passes for the images that no attack breaks.
"""

import argparse
import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import zoo_model
from benchmarks.attack import bare_passes, naive_pgd
from benchmarks.counting import Counting
from benchmarks.record import device, ratios, store
from solo_adv.adversaries import PGD
from solo_adv.data import ImageSet
from solo_adv.encoders.classifier import frozen
from solo_adv.evaluation import (
    Bench,
    HeadRecipe,
    evaluate_autoattack,
    knn_accuracy,
    train_head,
    train_head_on_features,
)
from solo_adv.evaluation.attacks import autoattack as module

EPSILON, STEP_SIZE, STEPS = 8 / 255, 0.01, 5
CLASSES = 10


def linear(args: argparse.Namespace) -> dict[str, Any]:
    """A head on cached features, against the same with a DataLoader."""
    recipe = HeadRecipe(epochs=args.epochs, min_updates=0)
    features = torch.randn(args.features, args.dim, device=device())
    labels = torch.randint(CLASSES, (args.features,), device=features.device)
    head = nn.Linear(args.dim, CLASSES).to(features.device)

    def ours() -> None:
        train_head_on_features(features, labels, num_classes=CLASSES, recipe=recipe, seed=0)

    def naive() -> None:
        loader = DataLoader(TensorDataset(features, labels), recipe.batch_size, shuffle=True)
        optimizer = torch.optim.Adam(head.parameters(), lr=recipe.lr, foreach=False)
        for _ in range(args.epochs):
            for batch, targets in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(head(batch), targets)
                loss.backward()
                optimizer.step()
                loss.item()  # as for a progress bar

    def floor() -> None:
        for _ in range(args.epochs):
            for batch in features.split(recipe.batch_size):
                logits = F.linear(batch, head.weight, head.bias)
                torch.autograd.grad(logits, [head.weight, head.bias], logits.detach())

    row = _row("linear", ours, naive, floor, args.repeats)
    updates = args.epochs * recipe.updates_per_epoch(args.features)
    row |= {"features": args.features, "dim": args.dim, "updates": updates}
    of_cifar = 20 * recipe.updates_per_epoch(50_000)
    return {**row, "seconds_for_cifar10": row["ours_seconds"] / updates * of_cifar}


def robust(args: argparse.Namespace) -> dict[str, Any]:
    """One epoch of a robust head."""
    classifier: Any = zoo_model.classifier(args.zoo)
    encoder = classifier.encoder
    train = zoo_model.images(args.data, "train", args.images)
    recipe = HeadRecipe(epochs=1, min_updates=0, batch_size=min(256, args.images))
    images, labels = zoo_model.pixels_and_labels(train)
    dim = classifier.head.in_features
    learning = copy.deepcopy(encoder).requires_grad_(True)

    def ours() -> None:
        adversary = PGD(EPSILON, STEP_SIZE, STEPS, batch_norm="eval")
        settings: dict[str, Any] = {"num_classes": CLASSES, "features_dim": dim, "seed": 0}
        train_head(
            encoder,
            train,
            recipe=recipe,
            adversary=adversary,
            device=device(),
            **settings,
        )

    def naive() -> None:
        head = nn.Linear(dim, CLASSES).to(images.device)
        optimizer = torch.optim.Adam(head.parameters(), lr=recipe.lr, foreach=False)
        for x, y in zip(
            images.split(recipe.batch_size), labels.split(recipe.batch_size), strict=True
        ):

            def loss_of(attacked: Tensor, y: Tensor = y) -> Tensor:
                return F.cross_entropy(head(learning(attacked)), y)

            delta = naive_pgd(loss_of, x, STEPS, EPSILON, STEP_SIZE)
            optimizer.zero_grad()
            loss_of(x + delta).backward()
            optimizer.step()

    def floor() -> None:
        with frozen(encoder):
            for x in images.split(recipe.batch_size):
                last = x.contiguous(memory_format=torch.channels_last)
                bare_passes(encoder, last, STEPS)
                with torch.no_grad():
                    encoder(last)

    return {**_row("robust", ours, naive, floor, args.repeats), "images": len(train)}


def knn(args: argparse.Namespace) -> dict[str, Any]:
    """kNN accuracy of ready features."""
    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(args.features, 512, generator=generator).to(device())
    queries = torch.randn(args.queries, 512, generator=generator).to(bank.device)
    bank_labels = torch.randint(CLASSES, (len(bank),), generator=generator).to(bank.device)
    labels = torch.randint(CLASSES, (len(queries),), generator=generator).to(bank.device)

    def ours() -> float:
        return knn_accuracy(bank, bank_labels, queries, labels)[0]

    def naive() -> float:
        right = 0
        for query, label in zip(queries, labels, strict=True):
            cosine = F.cosine_similarity(query[None], bank)
            nearest = cosine.argsort(descending=True)[:20]
            votes = torch.zeros(CLASSES, device=bank.device)
            for index in nearest:
                votes[bank_labels[index]] += (cosine[index] / 0.07).exp()
            right += int(votes.argmax() == label)
        return right / len(queries)

    normal, normal_bank = F.normalize(queries), F.normalize(bank)

    def floor() -> None:
        (normal @ normal_bank.T).topk(20)

    difference = abs(ours() - naive())
    row = _row("knn", ours, naive, floor, args.repeats)
    return {**row, "bank": len(bank), "queries": len(queries), "accuracy_difference": difference}


def _row(
    part: str,
    ours: Callable[[], object],
    naive: Callable[[], object],
    floor: Callable[[], object],
    repeats: int,
) -> dict[str, Any]:
    row = {"part": part, **ratios(ours, naive, floor, repeats=repeats)}
    print(
        f"{part}: ours {row['ours_seconds']:.3f} s, {row['ours_to_floor']:.2f} x floor, "
        f"naive {row['naive_to_ours']:.1f} x ours",
        flush=True,
    )
    return row


def autoattack(args: argparse.Namespace) -> dict[str, Any]:
    """Count the images passed through the classifier by us and by pyautoattack."""
    test = zoo_model.images(args.data, "test", args.autoattack)
    ours = Counting(zoo_model.classifier(args.zoo))
    theirs = Counting(zoo_model.classifier(args.zoo))
    naive, standing = _by_pyautoattack(theirs, test, args.images)
    with _by_attack(ours) as by_attack:
        result = evaluate_autoattack(
            Bench(ours, test, batch_size=args.images, device=device()), epsilon=EPSILON
        )
    total = {key: sum(counts[key] for counts in by_attack.values()) for key in naive}
    row = {
        "part": "autoattack",
        "images": len(test),
        "ours": by_attack,
        "ours_total": total,
        "naive_total": naive,
        "naive_to_ours": naive["passes"] / total["passes"],
        "robust_images": {"ours": result.correct, "naive": standing},
        # Each robust image must go through all attacks: 101 and 9 x 101 steps of APGD, 9 x 100 of
        # FAB with one more pass each, 5000 queries.
        "floor": result.correct * (2 * 101 + 9 * 2 * 101 + 9 * 3 * 100 + 5000),
    }
    row["ours_to_floor"] = total["passes"] / row["floor"] if row["floor"] else None
    print(
        f"autoattack, {len(test)} images: {total['passes']:,} passes of an image, pyautoattack "
        f"{naive['passes']:,} ({row['naive_to_ours']:.2f} x ours), of which images that stand need "
        f"{row['floor']:,}; robust {result.correct} and {standing}",
        flush=True,
    )
    return row


@contextmanager
def _by_attack(classifier: Counting) -> Iterator[dict[str, dict[str, int]]]:
    """Count the passes before the attacks and those of each attack, within this context."""
    found: dict[str, dict[str, int]] = {}
    run = module._run_attack

    def counted(bench: Bench, name: str, *args: Any, **kwargs: Any) -> float:
        found.setdefault("clean", classifier.counts)
        classifier.restart()
        excess = run(bench, name, *args, **kwargs)
        found[name] = classifier.counts
        return excess

    with patch.object(module, "_run_attack", counted):
        yield found


def _by_pyautoattack(
    classifier: Counting, test: ImageSet, batch_size: int
) -> tuple[dict[str, int], int]:
    from pyautoattack import AutoAttack  # noqa: PLC0415

    images, labels = zoo_model.pixels_and_labels(test)
    ensemble = AutoAttack(classifier, eps=EPSILON, device=images.device, seed=5, version="standard")
    with frozen(classifier), torch.random.fork_rng():
        _, seen = ensemble.run_standard_evaluation(images, labels, batch_size=batch_size)
    return classifier.counts, int((seen == labels).sum())


PARTS = {"linear": linear, "robust": robust, "knn": knn, "autoattack": autoattack}


def main() -> None:
    """Measure the parts asked for, print the table and store the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["linear", "robust", "knn"])
    parser.add_argument("--features", type=int, default=10_000, help="number of cached features")
    parser.add_argument("--dim", type=int, default=512, help="dimension of the cached features")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the linear head")
    parser.add_argument("--queries", type=int, default=200, help="queries of kNN")
    parser.add_argument(
        "--images", type=int, default=64, help="images for the robust head; AutoAttack's batch"
    )
    parser.add_argument("--autoattack", type=int, default=16, help="images for AutoAttack")
    parser.add_argument("--repeats", type=int, default=5)
    zoo_model.add_arguments(parser)
    args = parser.parse_args()
    kind = device().type
    print(f"Evaluation, {kind}, medians of {args.repeats}")
    rows = [PARTS[part](args) for part in args.parts]
    result = {
        "benchmark": "eval",
        "model": args.zoo,
        "real_images": args.data is not None,
        "rows": rows,
    }
    name = "eval_autoattack" if args.parts == ["autoattack"] else "eval"
    print(store(f"{name}_{kind}", result, args.output))


if __name__ == "__main__":
    main()
