"""``python -m solo_adv.cost --config-name cfamc.yaml [--throughput N] [key=value ...]``."""

import argparse
import sys

from omegaconf import DictConfig

from solo_adv.support.cli import run_app
from solo_adv.support.configs import next_command
from solo_adv.support.progress import say
from solo_adv.support.trainer_keys import OPTIONAL_KEYS


def main() -> None:
    """The command line: its own options, and Hydra's."""
    parser = argparse.ArgumentParser(
        prog="python -m solo_adv.cost",
        description="Predict what a pretraining run costs.",
        usage="%(prog)s --config-name METHOD.yaml [options] [key=value ...]",
        epilog="key=value changes the config, as in pretraining: optimizer.batch_size=256",
    )
    parser.add_argument(
        "--throughput", type=float, help="crop passes a second; default: measured here in seconds"
    )
    parser.add_argument("--price", type=float, help="price of an hour on the machine")
    parser.add_argument("--currency", default="USD", help="currency of the price")
    parser.add_argument("--images", type=int, help="number of train images, for data=custom")
    own, chosen = parser.parse_known_args()
    sys.argv[1:] = chosen

    def task(cfg: DictConfig) -> None:
        from solo_adv.cost.summary import Options, report

        report(cfg, Options(**vars(own)))
        say(f"Next: {next_command('pretrain', *chosen)}")

    run_app(task, optional=OPTIONAL_KEYS)


if __name__ == "__main__":
    main()
