"""Reads weights from safetensors files, which cannot run code, and loads them into networks."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, on the CPU.

    Raises:
        UserError: the file cannot be read, or is not a safetensors file.
    """
    try:
        return load_file(given_path(file))
    except SafetensorError as error:
        raise UserError(
            f"{file} is not a safetensors file ({error}). Pickles are refused under any name, "
            "because loading one would run code."
        ) from error
    except OSError as error:
        raise UserError(f"Cannot read '{file}': {error.strerror or error}.") from error


def fill(network: nn.Module, state: Mapping[str, Tensor], source: object) -> None:
    """Load weights into a network that has exactly these names and shapes.

    Args:
        network: the network.
        state: its weights by name.
        source: where the weights come from, for the message.

    Raises:
        UserError: a name is missing or unknown, or a shape differs.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"The weights in {source} do not fit its config: {reason[:400]}") from error


def read_head(file: str | Path, features_dim: int) -> nn.Linear:
    """Read a linear head, in eval mode, from the ``head.safetensors`` beside a report.

    Args:
        file: the file.
        features_dim: dimension of the features (N, features_dim) that the head must take.

    Raises:
        UserError: the file cannot be read, or the head takes features of another dimension.
    """
    state = read_weights(file)
    num_classes = len(state.get("bias", ()))
    head = nn.utils.skip_init(nn.Linear, features_dim, num_classes)
    fill(head, state, file)
    return head.requires_grad_(False).eval()
