"""Offline kNN with solo-learn's flags: ``main_knn.py --pretrained_checkpoint_dir DIR --k 20``."""

import argparse
from itertools import product

import torch

from solo_adv.data.flags import add_checkpoint_flag, add_data_flags, data_overrides
from solo_adv.data.labelled import check_labelled, load_labelled
from solo_adv.encoders.encoder import FEATURES
from solo_adv.encoders.image_size import fit_to_images
from solo_adv.evaluation.heads.features import extract
from solo_adv.evaluation.heads.knn import DISTANCES, knn_accuracy
from solo_adv.pretrained import load_pretrained
from solo_adv.support.cli import user_errors
from solo_adv.support.configs import next_command
from solo_adv.support.progress import say


def parse_args() -> argparse.Namespace:
    """Parse solo-learn's flags. Data flags that are not given come from the run's config."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_checkpoint_flag(parser)
    add_data_flags(parser)
    parser.add_argument(
        "--labels", help="1%% or 20_per_class: so many train images of each class vote"
    )
    parser.add_argument("--labels_seed", type=int, help="seed of that draw, 0 if left out")
    parser.add_argument("--k", type=int, nargs="+", default=[20])
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.07], help="cosine only")
    parser.add_argument("--distance_function", nargs="+", choices=DISTANCES, default=["cosine"])
    parser.add_argument("--feature_type", nargs="+", choices=FEATURES, default=["backbone"])
    return parser.parse_args()


def knn(args: argparse.Namespace) -> None:
    """Print the accuracy of every combination that the flags ask for.

    Raises:
        UserError: the checkpoint or the data cannot be used.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    labels = {"labels": args.labels, "labels_seed": args.labels_seed}
    overrides = {**data_overrides(args), **labels}
    sets = None
    for feature_type in args.feature_type:
        encoder = load_pretrained(args.pretrained_checkpoint_dir, features=feature_type).to(device)
        train_set, test_set = sets = sets or load_labelled(
            encoder.config["data"], overrides, input_size=encoder.image_size
        )
        check_labelled(train_set, test_set)
        fit_to_images(encoder, *test_set[0][0].shape[1:])
        train = extract(encoder, train_set, args.batch_size, device)
        test = extract(encoder, test_set, args.batch_size, device)
        print(f"\n### {feature_type.upper()} ###")
        for k, distance in product(args.k, args.distance_function):
            for temperature in args.temperature if distance == "cosine" else [None]:
                settings = {} if temperature is None else {"temperature": temperature}
                acc1, acc5 = knn_accuracy(*train, *test, k=k, distance=distance, **settings)
                print(f"distance_fx={distance}, k={k}, T={temperature}", end=": ")
                print(f"acc@1={100 * acc1:.2f}, acc@5={100 * acc5:.2f}")
    say(f"Next: {next_command('linear', f'checkpoint={args.pretrained_checkpoint_dir}')}")


def main() -> None:
    """The command line."""
    with user_errors():
        knn(parse_args())


if __name__ == "__main__":
    main()
