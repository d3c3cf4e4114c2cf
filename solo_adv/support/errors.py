"""Errors that the user can correct, and their messages."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user gave cannot work.

    The message is one line: what was wrong, what is accepted, what to do. The command line prints
    it without a traceback and exits with status 2.
    """


class RunStopped(Exception):
    """The run was asked to stop, saved everything and stopped. The message is one line.

    The command line prints it and exits with :data:`TRY_AGAIN`.
    """


TRY_AGAIN = 75
"""Exit status (``EX_TEMPFAIL``) of a stopped run. The same command continues it."""


class UnreadableImageError(UserError):
    """An image cannot be decoded. The message says where it lies."""


_MANY = 60


def unknown(
    kind: str, given: object, accepted: Iterable[str], *, meant: Sequence[str] = ()
) -> UserError:
    """Make the error for a name that is not among the ``accepted`` ones.

    Its message proposes the most similar name first and then lists all accepted names. Of more than
    60 accepted names it gives only the number and the most similar ones.

    Args:
        kind: what the name stands for, for the message.
        given: the name.
        accepted: the names that there are.
        meant: what was probably meant, if it is known better; the likeliest comes first.
    """
    names = sorted(accepted)
    nearest = get_close_matches(str(given), names, n=5, cutoff=0.5)
    proposed = list(meant) or nearest[:1]
    hint = f" Did you mean {' or '.join(map(repr, proposed))}?" if proposed else ""
    listed = ", ".join(names)
    if len(names) > _MANY:
        listed = f"{len(names):,} names" + (f", such as {', '.join(nearest)}" if nearest else "")
    return UserError(f"Unknown {kind} '{given}'.{hint} Accepted: {listed}.")
