"""Registers the methods with solo-learn, so that its unchanged scripts can run them.

Its ``main_pretrain.py`` and ``main_linear.py`` start Hydra, which finds ``hydra_plugins.solo_adv``;
that calls :func:`register`. Scripts that do not use Hydra are run by
``python -m solo_adv.solo_learn``, which calls it for them.

Every Hydra application in the environment imports this module, so it imports neither torch nor
solo-learn until :func:`register` is called.
"""

import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from solo_adv.support.errors import UserError


def register() -> None:
    """Add the methods to ``solo.methods.METHODS``, the dict in which solo-learn looks them up.

    Where solo-learn has a method of the same name (``simclr``), its own one stays.

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
    """Whether the application is a script of solo-learn. Only these import from ``solo.args``."""
    return any(name.startswith("solo.args.") for name in sys.modules)


class PreparedConfig(Callback):
    """Prepares a composed config for solo-learn, which reads it after this.

    It ends the script with one line if solo-learn does not know the dataset, of which solo-learn
    says only ``AssertionError``. It replaces ``precision=auto`` and ``optimizer.kwargs=null``: our
    methods do so themselves, but solo-learn's own methods and its ``main_linear.py`` hand the
    precision to Lightning, which does not know ``auto``.

    The configs of this package name this class in ``hydra.callbacks``. Hydra does not call it in a
    multirun, in which ``precision`` must be given.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Called by Hydra with the composed config, which it then gives to the script."""
        if solo_learn_is_running():
            from solo_adv.methods.performance import resolved_precision  # noqa: PLC0415
            from solo_adv.support.cli import user_errors  # noqa: PLC0415

            with user_errors():  # Hydra makes a warning of any other error here
                _check_dataset(config)
            config.precision = resolved_precision(config)
            # solo/args/pretrain.py:163 writes into optimizer.kwargs, which must be a mapping.
            if "optimizer" in config and config.optimizer.get("kwargs") is None:
                with open_dict(config):
                    config.optimizer.kwargs = {}


def _check_dataset(config: DictConfig) -> None:
    dataset, known = config.data.get("dataset"), _known_datasets()
    if known is not None and dataset is not None and dataset not in known:
        raise UserError(
            f"solo-learn has no data.dataset={dataset}. Its scripts accept {', '.join(known)}; "
            "data=custom takes folders of images. solo-adv's own command trains on further ones: "
            "python -m solo_adv.commands.pretrain --config-name METHOD.yaml"
        )


def _known_datasets() -> list[str] | None:
    """The datasets that solo-learn's running script accepts; None if it does not list them."""
    for module in ("solo.args.pretrain", "solo.args.linear"):
        known = getattr(sys.modules.get(module), "_SUPPORTED_DATASETS", None)
        if known is not None:
            return list(known)
    return None
