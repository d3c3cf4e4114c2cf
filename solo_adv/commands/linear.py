"""Linear evaluation: ``main_linear.py pretrained_feature_extractor=PATH [key=value ...]``."""

from omegaconf import DictConfig

from solo_adv.support.cli import run_app


def _run(cfg: DictConfig) -> None:
    from solo_adv.training.linear_evaluation import linear

    linear(cfg)


def main() -> None:
    """The command line."""
    run_app(_run, config_name="linear", short={"data": "data.dataset"})


if __name__ == "__main__":
    main()
