"""How solo-learn's own scripts come to know the methods, without an edit to them.

Its ``main_pretrain.py`` and ``main_linear.py`` start Hydra, which finds ``hydra_plugins.solo_adv``;
that calls :func:`register`. For the scripts that start no Hydra, ``python -m solo_adv.solo_learn``
calls it.

Every Hydra application in the environment imports this module, so it imports neither torch nor
solo-learn before it is asked to.
"""

import sys

from solo_adv.support.errors import UserError


def register() -> None:
    """Put the methods into ``solo.methods.METHODS``, the dict from which solo-learn takes them.

    A method that solo-learn has itself (``simclr``) stays solo-learn's.

    Raises:
        UserError: solo-learn cannot be imported.
    """
    try:
        from solo.methods import METHODS  # noqa: PLC0415
    except ImportError as error:
        raise UserError(f"solo-learn cannot be imported ({error}). {_remedy(error)}") from error
    from solo_adv.host import solo_learn  # noqa: PLC0415

    for name, method in solo_learn.METHODS.items():
        METHODS.setdefault(name, method)


def _remedy(error: ImportError) -> str:
    package = (error.name or "solo").partition(".")[0]
    if package == "solo":
        return "Take the scripts of a solo-learn checkout, or put a checkout on PYTHONPATH."
    if isinstance(error, ModuleNotFoundError):
        return f"Install what it needs: pip install {package}."
    return "docs/solo-learn.md names versions that fit each other."


def solo_learn_is_running() -> bool:
    """Whether the application is one of solo-learn's: its scripts import their ``solo.args``."""
    return any(name.startswith("solo.args.") for name in sys.modules)


def watch() -> None:
    """Do nothing; editable installations of earlier versions call this when torch is imported."""
