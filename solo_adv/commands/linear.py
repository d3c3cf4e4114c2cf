"""Linear evaluation: ``main_linear.py pretrained_feature_extractor=PATH [key=value ...]``."""

from solo_adv.support.cli import run_app
from solo_adv.training.linear_evaluation import linear


def main() -> None:
    """The command line."""
    run_app(linear, config_name="linear")


if __name__ == "__main__":
    main()
