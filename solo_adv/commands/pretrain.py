"""Pretrain an encoder: ``main_pretrain.py --config-name cfamc.yaml [key=value ...]``."""

from typing import Any

from omegaconf import DictConfig

from solo_adv.support.cli import run_app
from solo_adv.support.configs import next_command
from solo_adv.support.progress import say
from solo_adv.support.trainer_keys import OPTIONAL_KEYS


def _run(cfg: DictConfig) -> dict[str, Any]:
    from solo_adv.support.processes import rank
    from solo_adv.training.pretraining import pretrain
    from solo_adv.training.runs import last_metrics

    checkpoint = pretrain(cfg, print_config=True)
    if checkpoint is None or rank() > 0:
        return {}
    say(f"Next: {next_command('robust', f'checkpoint={checkpoint.parent}')}")
    return {"run": str(checkpoint.parent), **last_metrics(checkpoint.parent)}


def main() -> None:
    """The command line."""
    run_app(_run, optional=OPTIONAL_KEYS)


if __name__ == "__main__":
    main()
