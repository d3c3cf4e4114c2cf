"""``python -m solo_adv.preview --config-name cfamc.yaml [--output PATH] [key=value ...]``."""

import argparse
import sys
from pathlib import Path

from omegaconf import DictConfig

from solo_adv.support.checks import whole
from solo_adv.support.cli import run_app
from solo_adv.support.configs import next_command
from solo_adv.support.files import given_path
from solo_adv.support.progress import say
from solo_adv.support.trainer_keys import OPTIONAL_KEYS


def _run(cfg: DictConfig, given: argparse.Namespace, chosen: list[str]) -> None:
    whole("--images", given.images, 2)
    whole("--views", given.views, 1)
    from solo_adv.training.config import parse_cfg

    cfg = parse_cfg(cfg)
    from solo_adv.preview.picture import write_picture  # imports Lightning: after the checks

    write_picture(cfg, **vars(given))
    say(f"Next: {next_command('pretrain', *chosen)}")


def main() -> None:
    """The command line: its own options, and Hydra's."""
    parser = argparse.ArgumentParser(
        prog="python -m solo_adv.preview",
        description="Write a picture of some train images, their crops, and the perturbed crops.",
        usage="%(prog)s --config-name METHOD.yaml [options] [key=value ...]",
        epilog="key=value changes the config, as in pretraining: data=digits crops.backend=dali",
    )
    parser.add_argument(
        "--output", type=given_path, default=Path("preview.png"), help="PNG to write"
    )
    parser.add_argument("--images", type=int, default=6, help="number of images")
    parser.add_argument("--views", type=int, default=10, help="crops shown of an image, at most")
    parser.add_argument("--checkpoint", help="checkpoint or run whose encoder is attacked")
    own, chosen = parser.parse_known_args()
    sys.argv[1:] = chosen
    run_app(lambda cfg: _run(cfg, own, chosen), optional=OPTIONAL_KEYS)


if __name__ == "__main__":
    main()
