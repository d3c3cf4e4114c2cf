"""How solo-learn's own scripts come to know the methods, without an edit to them.

Its ``main_pretrain.py`` and ``main_linear.py`` start Hydra, which finds ``hydra_plugins.solo_adv``;
that calls :func:`register`. Its ``main_knn.py`` and ``main_umap.py`` start no Hydra, so that
:func:`watch`, which torch calls when it is imported (entry point ``torch.backends``;
``TORCH_DEVICE_BACKEND_AUTOLOAD=0`` turns that off), waits for solo-learn to be imported.

All processes that import torch, and all Hydra applications, pass through here: this module imports
neither torch nor solo-learn, and an error of ours must not become theirs.
"""

import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from solo_adv.support.errors import UserError

_REGISTRY = "solo.methods"


def register() -> None:
    """Put the methods into ``solo.methods.METHODS``, the dict from which solo-learn takes them.

    A method that solo-learn has itself (``simclr``) stays solo-learn's.

    Raises:
        UserError: solo-learn cannot be imported.
    """
    try:
        from solo.methods import METHODS  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"solo-learn cannot be imported ({error}). Run inside its checkout, or put it on "
            "PYTHONPATH."
        ) from error
    from solo_adv.host import solo_learn  # noqa: PLC0415

    for name, method in solo_learn.METHODS.items():
        METHODS.setdefault(name, method)


def solo_learn_is_running() -> bool:
    """Whether the application is one of solo-learn's: its scripts import their ``solo.args``."""
    return any(name.startswith("solo.args.") for name in sys.modules)


def watch() -> None:
    """From now on, :func:`register` as soon as solo-learn's methods have been imported."""
    if _REGISTRY not in sys.modules and not any(isinstance(f, _Watcher) for f in sys.meta_path):
        sys.meta_path.insert(0, _Watcher())


class _Watcher(MetaPathFinder):
    """Finds nothing itself; adds :func:`register` to what importing the registry does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                _register_or_warn(module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _register_or_warn(module: ModuleType) -> None:
    if not isinstance(getattr(module, "METHODS", None), dict):
        return  # another package of that name
    if "solo_adv.host.solo_learn" in sys.modules:
        return  # which is what imported solo-learn: it is not ready, and holds the methods itself
    try:
        register()
    except Exception as error:
        warnings.warn(f"solo-adv could not add its methods to solo-learn: {error!r}", stacklevel=2)
