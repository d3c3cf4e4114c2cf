"""Pretrain an encoder: ``main_pretrain.py --config-name cfamc.yaml [key=value ...]``."""

from functools import partial

from solo_adv.support.cli import run_app
from solo_adv.training.pretraining import pretrain


def main() -> None:
    """The command line."""
    run_app(partial(pretrain, print_config=True))


if __name__ == "__main__":
    main()
