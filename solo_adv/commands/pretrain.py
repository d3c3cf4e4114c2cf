"""Pretrain an encoder: ``main_pretrain.py --config-name cfamc.yaml [key=value ...]``."""

from omegaconf import DictConfig

from solo_adv.support.cli import run_app


def _run(cfg: DictConfig) -> None:
    from solo_adv.training.pretraining import pretrain

    pretrain(cfg, print_config=True)


def main() -> None:
    """The command line."""
    run_app(_run)


if __name__ == "__main__":
    main()
