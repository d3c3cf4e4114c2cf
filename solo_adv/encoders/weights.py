"""Weights in safetensors files, and into a network: nothing in a file is ever executed."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        UserError: it cannot be read, or is of another kind.
    """
    try:
        return load_file(given_path(file))
    except SafetensorError as error:
        raise UserError(
            f"{file} is no safetensors file ({error}). Pickles under any name are refused, "
            "because loading one would run code."
        ) from error
    except OSError as error:
        raise UserError(f"Cannot read '{file}': {error.strerror or error}.") from error


def fill(network: nn.Module, state: Mapping[str, Tensor], source: object) -> None:
    """Put weights into a network that has exactly these names and shapes.

    Args:
        source: where the weights come from, for the message.

    Raises:
        UserError: a name is missing or foreign, or a shape differs.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"The weights in {source} do not fit its config: {reason[:400]}") from error


def read_head(file: str | Path, features_dim: int) -> nn.Linear:
    """A linear head in eval mode from the ``head.safetensors`` that lies beside a report.

    Args:
        features_dim: the length of the features (N, features_dim) that it must take.

    Raises:
        UserError: it cannot be read, or takes other features.
    """
    state = read_weights(file)
    num_classes = len(state.get("bias", ()))
    head = nn.utils.skip_init(nn.Linear, features_dim, num_classes)
    fill(head, state, file)
    return head.requires_grad_(False).eval()
