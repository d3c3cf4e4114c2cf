"""Map of an encoder's features, with solo-learn's flags: ``main_umap.py --pretrained_checkpoint_dir
DIR``. It writes a picture and a table of clean features and of the same features under attack."""

import argparse
from pathlib import Path

import torch

from solo_adv.adversaries import AUTO, NORMS, PGD
from solo_adv.data.flags import add_checkpoint_flag, add_data_flags, data_overrides
from solo_adv.data.labelled import load_labelled
from solo_adv.encoders.encoder import FEATURES
from solo_adv.encoders.image_size import fit_to_images
from solo_adv.evaluation.mapping import KINDS, map_features
from solo_adv.pretrained import load_pretrained
from solo_adv.report.feature_map import write_map
from solo_adv.support.cli import user_errors
from solo_adv.support.configs import next_command
from solo_adv.support.files import given_path, require_writable
from solo_adv.support.progress import say


def parse_args() -> argparse.Namespace:
    """Parse the flags. Data flags that are not given come from the run's config."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_checkpoint_flag(parser)
    add_data_flags(parser)
    add("--kind", choices=KINDS, default="umap", help="umap needs the package umap-learn")
    add("--split", choices=("train", "val"), default="val", help="which images are shown")
    add("--features", choices=FEATURES, default="auto")
    add("--max_images", type=int, default=2000)
    add("--norm", choices=tuple(NORMS), default="linf")
    add("--epsilon", default=AUTO, help="radius of the attack; 0: no attack; auto: 8/255, l2: 0.5")
    add("--steps", type=int, default=20)
    add("--seed", type=int, default=5)
    add("--output", default="umap", help="path of the files, without .png and .csv")
    return parser.parse_args()


def run(args: argparse.Namespace) -> dict[str, Path]:
    """Make the map that the flags ask for; return the paths of its files by kind.

    Raises:
        UserError: the checkpoint or the data cannot be used.
    """
    output = given_path(args.output)
    require_writable(output.parent, "the map", remedy="Choose another --output.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = load_pretrained(args.pretrained_checkpoint_dir, features=args.features).to(device)
    train_set, test_set = load_labelled(
        encoder.config["data"], data_overrides(args), input_size=encoder.image_size
    )
    fit_to_images(encoder, *test_set[0][0].shape[1:])
    adversary = PGD(args.epsilon, AUTO, args.steps, True, norm=args.norm, batch_norm="eval")
    shown = map_features(
        encoder,
        train_set if args.split == "train" else test_set,
        kind=args.kind,
        adversary=adversary if adversary.epsilon else None,
        max_images=args.max_images,
        batch_size=args.batch_size,
        device=device,
        seed=args.seed,
    )
    files = write_map(shown, output)
    print("\n".join(str(path) for path in files.values()))
    say(f"Next: {next_command('robust', f'checkpoint={args.pretrained_checkpoint_dir}')}")
    return files


def main() -> None:
    """The command line."""
    with user_errors():
        run(parse_args())


if __name__ == "__main__":
    main()
