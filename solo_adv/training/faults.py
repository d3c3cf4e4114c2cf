"""Explains in one line why a training run ended, what was saved, and what to do."""

from safetensors import SafetensorError
from safetensors.torch import save_file

from solo_adv.methods import NonFiniteLossError
from solo_adv.support.errors import UserError
from solo_adv.training.runs import Run


def explain(error: Exception, run: Run) -> str | None:
    """Make the message for an error that is not a bug of this package.

    If a loss was not finite, its batch is saved beside the checkpoints.

    Returns:
        The message; None if the error may be a bug.
    """
    if isinstance(error, NonFiniteLossError):
        # The same command would fail again, so the message does not propose it.
        return f"{error} {last_good(run)} {_save_batch(error, run)}"
    cause = None
    if isinstance(error, UserError):
        cause = str(error)
    elif _loading_died(error):
        reason = " ".join(str(error).split())
        cause = (
            f"A process that loads images died: {reason} It may have run out of memory: fewer "
            "(data.num_workers) need less, and data.num_workers=0 needs none."
        )
    elif isinstance(error, OSError):
        cause = f"The run ended because a file could not be read or written: {error}."
    return cause and f"{cause} {last_good(run)} {_remedy(run)}"


def _loading_died(error: Exception) -> bool:
    """Whether the error is what is left when a process that loads images dies.

    If it dies while it hands over a batch, its connection breaks instead of torch's check noticing.
    """
    broken = isinstance(error, ConnectionResetError | BrokenPipeError | EOFError)
    return broken or (isinstance(error, RuntimeError) and "DataLoader worker" in str(error))


def last_good(run: Run) -> str:
    """A sentence that names the last checkpoint that is not damaged."""
    kept = run.last_checkpoint()
    return f"The last good checkpoint is {kept}." if kept else "No checkpoint was written yet."


def _remedy(run: Run) -> str:
    kept = run.last_checkpoint()
    if kept is None:
        return "The same command begins it again."
    return f"{run.how_to_continue(kept).replace('the same', 'The same', 1)} continues it."


def _save_batch(error: NonFiniteLossError, run: Run) -> str:
    path = run.directory / "non_finite_batch.safetensors"
    try:
        save_file({name: part.cpu().contiguous() for name, part in error.batch.items()}, path)
    except (OSError, SafetensorError) as reason:
        return f"The batch could not be saved: {reason}."
    return f"The batch after which it was noticed: {path}."
