"""solo-learn's flags for encoder and data, which the commands that do not use Hydra share."""

import argparse
from typing import Any


def add_checkpoint_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the encoder."""
    parser.add_argument(
        "--pretrained_checkpoint_dir",
        required=True,
        help="directory of a run, a .ckpt file, latest, a name of the zoo, or timm:NAME",
    )


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for the data. Those that are not given come from the run's config."""
    parser.add_argument(
        "--dataset", help="the run's own data set if left out; so it is for all data flags"
    )
    parser.add_argument("--train_data_path")
    parser.add_argument("--val_data_path")
    parser.add_argument("--data_format")
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--num_workers", type=int)


def data_overrides(args: argparse.Namespace) -> dict[str, Any]:
    """The keys of the ``data`` section that the flags set; None where one is not given."""
    return {
        "dataset": args.dataset,
        "train_path": args.train_data_path,
        "val_path": args.val_data_path,
        "format": args.data_format,
        "num_workers": args.num_workers,
    }
