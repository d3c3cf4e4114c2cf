"""Upper bound for the speed of a training step on this machine: ``python -m benchmarks.ceiling``

Measures large matrix products in each precision, and the network's convolutions one by one, forward
and backward, on ready operands. No training step can be faster.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.record import median_seconds, store
from solo_adv.encoders.backbones import build_backbone

PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
SIZES = {"cuda": [4096, 8192, 16384], "cpu": [1024, 2048]}
CROPS = {"cuda": 1600, "cpu": 64}


def matrix_ceiling(precision: str, size: int, *, repeats: int = 7) -> float:
    """TFLOP/s of the product of two square matrices.

    Args:
        precision: ``fp32``, ``tf32`` (CUDA only) or ``bf16``.
        size: Side of the matrices.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    left, right = (torch.randn(size, size, device=device) for _ in range(2))
    left, right = left.to(PRECISIONS[precision]), right.to(PRECISIONS[precision])
    out = torch.empty_like(left)
    with _tf32(precision == "tf32"):
        seconds = median_seconds(lambda: torch.mm(left, right, out=out), repeats=repeats)
    return 2 * size**3 / seconds / 1e12


def convolution_ceiling(
    precision: str, crops: int, *, backbone: str = "resnet18", size: int = 32, repeats: int = 5
) -> dict[str, float]:
    """Time the network's convolutions one by one, forward and backward, in channels_last.

    Args:
        precision: As in `matrix_ceiling`.
        crops: Number of crops in a batch.
        backbone: Name of the network.
        size: Side of the crops in pixels.

    Returns:
        ``seconds`` of all of them together, ``tflops_per_second``, and the
        ``crop_passes_per_second`` of a network that consists of these convolutions only.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = PRECISIONS[precision]
    seconds, flops = 0.0, 0
    for convolution, shape in _convolutions(backbone, size, crops):
        layer = convolution.to(device, dtype=dtype, memory_format=torch.channels_last)
        inputs = torch.randn(shape, device=device, dtype=dtype)
        inputs = inputs.contiguous(memory_format=torch.channels_last).requires_grad_()

        def work(layer: nn.Module = layer, inputs: Tensor = inputs) -> None:
            layer.zero_grad()
            inputs.grad = None
            outputs = layer(inputs)
            outputs.backward(outputs.detach())

        with _tf32(precision == "tf32"):
            seconds += median_seconds(work, repeats=repeats, warmup=2)
        with FlopCounterMode(display=False) as counter:
            work()
        flops += counter.get_total_flops()
    return {
        "seconds": seconds,
        "tflops_per_second": flops / seconds / 1e12,
        "crop_passes_per_second": crops / seconds,
    }


def _convolutions(backbone: str, size: int, crops: int) -> Iterator[tuple[nn.Conv2d, list[int]]]:
    """Every convolution of the network, with the shape of its input."""
    network, _ = build_backbone(backbone, image_size=size)
    shapes: dict[nn.Conv2d, list[int]] = {}
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(
                lambda layer, inputs: shapes.update({layer: list(inputs[0].shape[1:])})
            )
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, size, size))
    for layer, shape in shapes.items():
        layer._forward_pre_hooks.clear()
        yield layer, [crops, *shape]


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    cudnn = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = cudnn


def main() -> None:
    """Measure everything in one run, print the results and store them."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    precisions = list(PRECISIONS) if device == "cuda" else ["fp32", "bf16"]
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=precisions)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES[device], help="sides of the matrices"
    )
    parser.add_argument(
        "--crops", type=int, default=CROPS[device], help="crops for the convolutions"
    )
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--output", type=Path, help="result file (JSON)")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for precision in args.precisions:
        for size in args.sizes:
            rate = matrix_ceiling(precision, size)
            rows.append({"precision": precision, "matrix": size, "tflops_per_second": rate})
            print(f"{precision} matrices of {size}: {rate:,.2f} TFLOP/s", flush=True)
        found = convolution_ceiling(precision, args.crops, backbone=args.backbone)
        rows.append({"precision": precision, "convolutions_of": args.backbone, **found})
        print(
            f"{precision} convolutions of {args.backbone}, {args.crops} crops: "
            f"{found['tflops_per_second']:,.2f} TFLOP/s, "
            f"{found['crop_passes_per_second']:,.0f} crop passes/s",
            flush=True,
        )
    result = {"benchmark": "ceiling", "crops": args.crops, "rows": rows}
    print(store(f"ceiling_{device}", result, args.output))


if __name__ == "__main__":
    main()
