"""Export to ONNX: the encoder or the classifier in one file, checked with onnxruntime."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from solo_adv.catalogue.entry import Entry
from solo_adv.catalogue.loading import load
from solo_adv.support.errors import UserError
from solo_adv.zoo.export.check import require_equal


def write(entry: Entry, directory: Path, head: str | None) -> None:
    """Write ``model.onnx``, from ``pixels`` (N, 3, H, W) in [0, 1] to ``features`` or ``logits``.

    Raises:
        UserError: The extra ``onnx`` is not installed, or torch is too old.
    """
    try:
        import onnx  # noqa: F401, PLC0415
        import onnxruntime  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise UserError(
            f"--to onnx needs the extra onnx ({error}): pip install 'solo-adv[onnx]'."
        ) from error
    if torch.__version__ < torch.torch_version.TorchVersion("2.7"):
        raise UserError(f"--to onnx needs torch 2.7 or newer; this is {torch.__version__}.")
    model = load(entry.name, head=head)
    output = "features" if head is None else "logits"
    file = directory / "model.onnx"
    pixels = torch.rand(2, 3, entry.image_size, entry.image_size)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (pixels,),
            str(file),
            input_names=["pixels"],
            output_names=[output],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            external_data=False,
        )
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([output], {"pixels": images.numpy()})[0])

    require_equal(model, run, entry.image_size)
    about = {"name": entry.name, "head": head, "input": "pixels in [0, 1]", "output": output}
    (directory / "model.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter, which logs every operator that it optimises away."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
