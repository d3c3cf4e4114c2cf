"""Errors that are the user's to mend, and how they read."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something the user gave cannot work.

    The message is one line: what was wrong, what is accepted, what to do. The command line prints
    it without a traceback and exits with status 2.
    """


class RunStopped(Exception):
    """The run was asked to stop, and did, with everything saved; the message is one line.

    The command line prints it and exits with :data:`TRY_AGAIN`.
    """


TRY_AGAIN = 75
"""Exit status (``EX_TEMPFAIL``) of a run that the same command will continue."""


class UnreadableImageError(UserError):
    """An image cannot be decoded; the message says where it lies."""


_MANY = 100


def unknown(kind: str, given: object, accepted: Iterable[str]) -> UserError:
    """The error for a name that is none of the ``accepted`` ones; names the nearest.

    Where too many to read are accepted, it lists those that are near, and says how many there are.
    """
    names = sorted(accepted)
    nearest = get_close_matches(str(given), names, n=5, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    listed = ", ".join(names)
    if len(names) > _MANY:
        listed = f"{len(names):,} names" + (f", such as {', '.join(nearest)}" if nearest else "")
    return UserError(f"Unknown {kind} '{given}'.{hint} Accepted: {listed}.")
