"""Run any script of a solo-learn checkout with this package's methods registered.

``python -m solo_adv.solo_learn main_knn.py ARGS`` does what ``python main_knn.py ARGS`` does, and
knows the methods of this package as well. Scripts that start Hydra (``main_pretrain.py``,
``main_linear.py``) find the methods by themselves, through ``hydra_plugins``; the others do not.
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


def run(script: Path, arguments: list[str]) -> None:
    """Execute a script as ``__main__``, as ``python SCRIPT ARGUMENTS`` would.

    Args:
        script: a script in the root of a solo-learn checkout.
        arguments: what follows it on the command line.

    Raises:
        UserError: there is no such script, or solo-learn cannot be imported beside it.
    """
    if not script.is_file():
        raise UserError(f"There is no script '{script}'. {USAGE}")
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    register()
    runpy.run_path(str(script), run_name="__main__")


def main() -> None:
    """The command line."""
    with user_errors():
        if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
            print(__doc__.strip() if len(sys.argv) > 1 else f"error: {USAGE}", file=sys.stderr)
            sys.exit(0 if len(sys.argv) > 1 else 2)
        run(Path(sys.argv[1]), sys.argv[2:])


if __name__ == "__main__":
    main()
