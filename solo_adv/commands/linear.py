"""Linear evaluation: ``main_linear.py pretrained_feature_extractor=PATH [key=value ...]``."""

from omegaconf import DictConfig

from solo_adv.support.cli import run_app
from solo_adv.support.configs import next_command
from solo_adv.support.progress import say
from solo_adv.support.trainer_keys import OPTIONAL_KEYS


def _run(cfg: DictConfig) -> dict[str, float]:
    from solo_adv.support.processes import rank
    from solo_adv.training.linear_evaluation import linear

    path = cfg.pretrained_feature_extractor
    figures = linear(cfg)
    if rank() == 0:
        say(f"Next: {next_command('robust', f'checkpoint={path}')}")
    return figures


def main() -> None:
    """The command line."""
    run_app(
        _run,
        config_name="linear",
        short={"data": "data.dataset", "checkpoint": "pretrained_feature_extractor"},
        optional=OPTIONAL_KEYS,
    )


if __name__ == "__main__":
    main()
