"""Run any script of a solo-learn checkout with this package's methods registered.

``python -m solo_adv.solo_learn main_knn.py ARGS`` does what ``python main_knn.py ARGS`` does, with
the same exit status, and the script knows the methods of this package as well.
Scripts that start Hydra (``main_pretrain.py``, ``main_linear.py``) find the methods by themselves,
through ``hydra_plugins``; ``main_knn.py`` and ``main_umap.py`` need this command.
"""

import runpy
import sys
from pathlib import Path

from solo_adv.host.plugin import register
from solo_adv.support.cli import user_errors
from solo_adv.support.errors import UserError

USAGE = (
    "Name a script of a solo-learn checkout and its arguments: "
    "python -m solo_adv.solo_learn main_knn.py ARGS."
)


def prepare(script: Path) -> None:
    """Register the methods with the solo-learn that a script will import.

    Args:
        script: a script in the root of a solo-learn checkout, or anywhere if solo-learn is
            installed or on PYTHONPATH.

    Raises:
        UserError: there is no such script, or solo-learn cannot be imported beside it.
    """
    if not script.is_file():
        raise UserError(f"There is no script '{script}'. {USAGE}")
    sys.path.insert(0, str(script.resolve().parent))
    register()


def main() -> None:
    """The command line. Exceptions of the script itself pass through unchanged."""
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print((__doc__ or "").strip())
        return
    with user_errors():
        if len(sys.argv) < 2:
            raise UserError(USAGE)
        prepare(Path(sys.argv[1]))
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
