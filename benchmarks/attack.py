"""Time of an attack against a naive version and the bare passes: ``python -m benchmarks.attack``

Measures PGD in evaluation and in training, each against two other versions in the same run.
*naive*: the same steps written plainly, in float32 and NCHW, which also computes gradients of the
weights. *floor*: the same number of forward passes and input gradients of the network, on ready
images; in evaluation, of the network with its batch norms. Then it measures how folded batch norms,
bfloat16 and compilation change PGD's success, judged in float32.
"""

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import zoo_model
from benchmarks.record import device, ratios, store
from solo_adv.adversaries import PGD
from solo_adv.encoders.classifier import frozen
from solo_adv.evaluation.attacks.bench import Bench
from solo_adv.evaluation.attacks.crafting import Crafting
from solo_adv.evaluation.attacks.judging import evaluate_pgd
from solo_adv.evaluation.attacks.losses import cross_entropy_of
from solo_adv.host import METHODS
from solo_adv.reproduce.plan import composed
from solo_adv.training.config import parse_cfg

EPSILON, STEP_SIZE = 8 / 255, 0.01
CRAFTINGS = {
    "32-true": Crafting(),
    "32-true with batch norms": Crafting(fold=False),
    "bf16-mixed": Crafting(precision="bf16-mixed"),
    "32-true compiled": Crafting(compile=True),
    "bf16-mixed compiled": Crafting(precision="bf16-mixed", compile=True),
}


def naive_pgd(
    loss_of: Callable[[Tensor], Tensor], images: Tensor, steps: int, epsilon: float, step: float
) -> Tensor:
    """PGD as it is usually written, with ``backward``, which also computes weight gradients."""
    delta = torch.zeros_like(images, requires_grad=True)
    for _ in range(steps):
        loss_of(images + delta).backward()
        assert delta.grad is not None
        moved = torch.clamp(delta.detach() + step * delta.grad.sign(), -epsilon, epsilon)
        delta = (torch.clamp(images + moved, 0, 1) - images).requires_grad_(True)
    return delta.detach()


def bare_passes(network: Callable[[Tensor], Tensor], images: Tensor, steps: int) -> None:
    """``steps`` forward passes and gradients with respect to the images."""
    images = images.detach().requires_grad_(True)
    for _ in range(steps):
        torch.autograd.grad(network(images).square().sum(), images)


def evaluation(args: argparse.Namespace) -> dict[str, Any]:
    """PGD-20 on the zoo's classifier."""
    classifier = zoo_model.classifier(args.zoo)
    test = zoo_model.images(args.data, "test", args.images)
    images, labels = zoo_model.pixels_and_labels(test)
    last = images.contiguous(memory_format=torch.channels_last)
    attack = PGD(EPSILON, STEP_SIZE, args.steps, batch_norm="eval")

    def ours() -> Tensor:
        with frozen(classifier):
            network = Crafting().network(classifier, last[:4])
            return attack.perturb(last, cross_entropy_of(network, labels))

    def floor() -> None:
        with frozen(classifier):
            bare_passes(classifier, last, args.steps)

    classifier.requires_grad_(True)

    def naive() -> Tensor:
        classifier.zero_grad()
        return naive_pgd(
            lambda x: F.cross_entropy(classifier(x), labels, reduction="sum"),
            images,
            args.steps,
            EPSILON,
            STEP_SIZE,
        )

    # Rounding flips the signs of tiny gradients, so the perturbations differ; the verdicts should
    # agree.
    agree = _standing(classifier, images, labels, ours()) == _standing(
        classifier, images, labels, naive()
    )
    row = {"attack": f"PGD-{args.steps}, evaluation", "images": len(images)}
    row |= ratios(ours, naive, floor, repeats=args.repeats)
    return {**row, "verdicts_that_agree": agree.float().mean().item()}


def _standing(classifier: nn.Module, images: Tensor, labels: Tensor, delta: Tensor) -> Tensor:
    with torch.no_grad():
        return classifier(images + delta).argmax(1) == labels


def training(args: argparse.Namespace) -> dict[str, Any]:
    """The inner steps of robust_emp, from clean crops to a perturbation."""
    sizes = [f"optimizer.batch_size={args.batch}", f"crops.num_crops={args.views}"]
    cfg = parse_cfg(composed("robust_emp", [*sizes, "knn_eval.enabled=false", *args.overrides]))
    cfg.data.num_classes = 10
    torch.manual_seed(0)
    method: Any = METHODS["robust_emp"](cfg).to(device()).train()
    method = method.to(memory_format=torch.channels_last)
    count, steps = args.batch * args.views, method.adversary.steps
    crops = torch.rand(count, 3, cfg.crops.size, cfg.crops.size, device=device())
    last = crops.contiguous(memory_format=torch.channels_last)
    targets = torch.zeros(args.batch, dtype=torch.long, device=crops.device)
    batch = method.batch_of(last, targets)

    def ours() -> Tensor:
        delta: Tensor = method.perturb(batch)
        return delta

    def network(pixels: Tensor) -> Tensor:
        embeddings: Tensor = method.projector(method.backbone(pixels))[1]
        return embeddings

    contiguous = METHODS["robust_emp"](cfg).to(crops.device).train()

    def naive() -> Tensor:
        contiguous.zero_grad()
        return naive_pgd(
            lambda x: naive_emp_of(contiguous, x, args.views),
            crops,
            steps,
            method.adversary.epsilon,
            method.adversary.step_size,
        )

    row = {"attack": f"PGD-{steps}, inner steps of robust_emp", "images": count}

    def floor() -> None:
        bare_passes(network, last, steps)

    return row | ratios(ours, naive, floor, repeats=args.repeats)


def naive_emp_of(method: Any, pixels: Tensor, views: int) -> Tensor:
    """The loss of crops (V*B, 3, h, w), view by view."""
    from benchmarks.loss import naive_emp_loss  # noqa: PLC0415

    z = method.projector(method.backbone(pixels))[1]
    return naive_emp_loss(torch.stack(z.chunk(views)))


def precisions(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Accuracy and time of PGD crafted in each precision and judged in float32."""
    classifier = zoo_model.classifier(args.zoo)
    test = zoo_model.images(args.data, "test", args.judged)
    rows = []
    for name in args.craftings:
        bench = Bench(classifier, test, args.images, device(), crafting=CRAFTINGS[name])
        settings: dict[str, Any] = {
            "epsilon": EPSILON,
            "step_size": STEP_SIZE,
            "steps": args.steps,
        }
        result = evaluate_pgd(bench, **settings)  # the first call may compile
        again = [evaluate_pgd(bench, **settings) for _ in range(args.rounds)]
        rows.append(
            {
                "crafted": name,
                "correct": result.correct,
                "images": result.total,
                "seconds": sorted(each.seconds for each in again)[len(again) // 2]
                if again
                else result.seconds,
                "first_seconds": result.seconds,
            }
        )
        print(
            f"{name}: {result.correct} of {result.total} images stand ({result.accuracy:.2%}), "
            f"{rows[-1]['seconds']:.2f} s (the first time {result.seconds:.2f} s)",
            flush=True,
        )
    return rows


def main() -> None:
    """Measure the parts asked for, print the results and store them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = ("evaluation", "training", "precisions")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--images", type=int, default=32, help="images in an evaluation batch")
    parser.add_argument("--judged", type=int, default=256, help="images for the precisions")
    parser.add_argument("--steps", type=int, default=20, help="steps of PGD in the evaluation")
    parser.add_argument("--batch", type=int, default=4, help="images in the training attack")
    parser.add_argument("--views", type=int, default=8, help="crops of each of them")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=0, help="repetitions for the precisions")
    parser.add_argument(
        "--craftings",
        nargs="+",
        choices=CRAFTINGS,
        default=["32-true", "32-true with batch norms", "bf16-mixed"],
    )
    zoo_model.add_arguments(parser)
    parser.add_argument("overrides", nargs="*", help="overrides of the training config, key=value")
    args = parser.parse_args()
    kind = device().type
    print(f"Attacks, {kind}, medians of {args.repeats}")
    rows = []
    for part, measure in (("evaluation", evaluation), ("training", training)):
        if part in args.parts:
            row = measure(args)
            rows.append(row)
            print(
                f"{row['attack']}, {row['images']} images: ours {row['ours_seconds']:.3f} s, "
                f"{row['ours_to_floor']:.3f} x floor, naive {row['naive_to_ours']:.2f} x ours",
                flush=True,
            )
    crafted = precisions(args) if "precisions" in args.parts else []
    result = {
        "benchmark": "attack",
        "model": args.zoo,
        "real_images": args.data is not None,
        "rows": rows,
        "crafted": crafted,
    }
    print(store(f"attack_{kind}", result, args.output))


if __name__ == "__main__":
    main()
