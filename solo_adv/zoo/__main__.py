"""``python -m solo_adv.zoo list|info|download|verify|evaluate|export|compact|publish|extend``."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from solo_adv.catalogue import index
from solo_adv.catalogue.entry import Entry, StoredFile
from solo_adv.catalogue.places import PACKAGED
from solo_adv.support.cli import quiet_libraries, user_errors
from solo_adv.support.errors import UserError
from solo_adv.support.files import given_path
from solo_adv.support.progress import duration, say
from solo_adv.zoo import table
from solo_adv.zoo.card import card
from solo_adv.zoo.export import TARGETS, export

Task = Callable[[argparse.Namespace], None]


def _list(given: argparse.Namespace) -> None:
    entries = index.packaged() if given.markdown else index.entries()
    names = index.names(dataset=given.dataset, method=given.method)
    chosen = [entry for entry in entries.values() if entry.name in names]
    if given.markdown:
        print(table.markdown(chosen), end="")
        return
    for entry in chosen:
        print(f"{entry.name}: {entry.summary}")
    if not chosen:
        print("No such model.")
        return
    say(f"Next: python -m solo_adv.zoo info {chosen[0].name}")


def _info(given: argparse.Namespace) -> None:
    print(card(index.find(given.name)), end="")


def _download(given: argparse.Namespace) -> None:
    from solo_adv.catalogue.download import locate

    for name in given.names:
        entry = index.find(name)
        for file in _files(entry).values():
            print(locate(file, entry.base_urls))


def _verify(given: argparse.Namespace) -> None:
    """Check the hashes of the files on this machine, and that the weights fit the network."""
    from solo_adv.catalogue.download import present
    from solo_adv.catalogue.loading import load_encoder

    missing = []
    for name in given.names or list(index.entries()):
        entry = index.find(name)
        for kind, file in _files(entry).items():
            path = present(file)
            print(f"{name} {kind}: {'ok' if path else 'missing or damaged'}")
            missing += [] if path else [f"{name} {kind}"]
        if present(entry.files["encoder"]):
            load_encoder(entry)
    if missing:
        raise UserError(
            f"Missing or damaged: {', '.join(missing)}. Get them with: python -m solo_adv.zoo "
            "download NAME"
        )


def _files(entry: Entry) -> dict[str, StoredFile]:
    reports = (evaluation.report for evaluation in entry.evaluations)
    return entry.files | {Path(report.path).stem: report for report in reports}


def _evaluate(given: argparse.Namespace) -> None:
    from solo_adv.zoo.remeasuring import evaluate, expected_seconds

    entry, data = index.find(given.name), _settings(given.data)
    seconds, attacked = expected_seconds(
        entry, max_images=given.max_images, autoattack=not given.without_autoattack
    )
    hint = f"{duration(attacked)} of it for AutoAttack (--without-autoattack leaves it out)"
    say(
        f"The published evaluation of as many images took {duration(seconds)}"
        f"{f', {hint}' if attacked else ''}; this machine may be faster or slower."
    )
    comparisons = evaluate(
        entry,
        data=data,
        max_images=given.max_images,
        autoattack=not given.without_autoattack,
        device=given.device,
    )
    for c in comparisons:
        verdict = "holds" if c.holds else "DIFFERS"
        print(
            f"{c.head}, {c.figure}: published {c.published:.2%}, measured {c.measured:.2%} "
            f"(allowed ± {c.allowed:.2%}): {verdict}"
        )
    if not all(c.holds for c in comparisons):
        sys.exit(1)


def _export(given: argparse.Namespace) -> None:
    directory = given.output or Path(f"{given.name}-{given.to}")
    for file in export(index.find(given.name), given.to, directory, head=given.head):
        print(file)
    if given.push is not None:
        if given.to != "hf":
            raise UserError("--push is for --to hf.")
        from solo_adv.zoo.export.hf import push

        print(push(directory, given.push))


def _compact(given: argparse.Namespace) -> None:
    from solo_adv.zoo.compacting import compact

    print(compact(given.run, given.directory, with_projector=not given.without_projector))


def _publish(given: argparse.Namespace) -> None:
    from solo_adv.zoo.publishing import publish

    entry = publish(
        given.run,
        name=given.name,
        summary=given.summary,
        zoo=given.zoo,
        reports=given.reports or [Path("results", given.run.parent.name, given.run.name)],
        licence=given.licence,
        commit=given.commit,
        hardware=given.hardware,
        minutes=given.minutes,
    )
    print(given.zoo / "models" / entry.name)


def _extend(given: argparse.Namespace) -> None:
    from solo_adv.zoo.publishing import extend

    entry = extend(given.name, zoo=given.zoo, reports=given.reports)
    print(given.zoo / "models" / entry.name)


def _settings(pairs: list[str]) -> dict[str, object]:
    from omegaconf import OmegaConf

    wrong = [pair for pair in pairs if "=" not in pair]
    if wrong:
        raise UserError(f"--data takes KEY=VALUE, such as train_path=DIR; got '{wrong[0]}'.")
    return {str(k): v for k, v in OmegaConf.from_dotlist(pairs).items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m solo_adv.zoo", description="Pretrained robust encoders."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, task: Task, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(task=task)
        return command

    command = add("list", _list, "List the models, one on each line.")
    command.add_argument("--dataset", help="only models trained on this data set")
    command.add_argument("--method", help="only models of this method")
    command.add_argument(
        "--markdown", action="store_true", help="the packaged models with their figures"
    )

    command = add("info", _info, "Print a model's card: results, threat model, use, limits.")
    command.add_argument("name")

    command = add("download", _download, "Download all files of models and print their paths.")
    command.add_argument("names", nargs="+", metavar="NAME")

    command = add("verify", _verify, "Check the files on this machine: hashes, names and shapes.")
    command.add_argument("names", nargs="*", metavar="NAME", help="default: all models")

    command = add(
        "evaluate", _evaluate, "Repeat the published evaluations; exit with 1 if a figure differs."
    )
    command.add_argument("name")
    command.add_argument("--max-images", type=int, metavar="N", help="number of test images")
    command.add_argument(
        "--without-autoattack", action="store_true", help="leave out what takes longest"
    )
    command.add_argument("--device", default="cpu")
    command.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="keys of the config's data section, such as train_path=DIR",
    )

    command = add("export", _export, "Write a model for other software.")
    command.add_argument("name")
    command.add_argument("--to", required=True, choices=sorted(TARGETS))
    command.add_argument("--output", type=given_path, metavar="DIR", help="default: NAME-TARGET")
    command.add_argument(
        "--head", help="with --to onnx: linear, robust_linear or another that the model has"
    )
    command.add_argument("--push", metavar="USER/REPO", help="with --to hf: upload it as well")

    command = add(
        "compact",
        _compact,
        "Copy a finished run with weights of two bytes, to be judged and published in its place.",
    )
    command.add_argument("run", type=given_path, metavar="RUN_DIR")
    command.add_argument("directory", type=given_path, metavar="DIR", help="where the copy goes")
    command.add_argument(
        "--without-projector", action="store_true", help="keep the backbone's features only"
    )

    command = add(
        "publish",
        _publish,
        "Add a finished, evaluated run to a zoo directory, its reports without the folders of this "
        "machine.",
    )
    command.add_argument("run", type=given_path, metavar="RUN_DIR")
    command.add_argument("--name", required=True)
    command.add_argument("--summary", required=True, help="one honest sentence")
    command.add_argument(
        "--reports",
        nargs="+",
        type=given_path,
        metavar="DIR",
        help="default: results/<method>/<version>",
    )
    command.add_argument(
        "--zoo", type=given_path, default=PACKAGED, metavar="DIR", help="default: the package's zoo"
    )
    command.add_argument("--licence", default="MIT")
    command.add_argument("--commit", help="commit of the code that trained the run")
    command.add_argument("--hardware", help="hardware of the training")
    command.add_argument("--minutes", type=float, help="duration of the training")

    command = add("extend", _extend, "Add reports to a model of a zoo directory.")
    command.add_argument("name")
    command.add_argument("--reports", nargs="+", type=given_path, required=True, metavar="DIR")
    command.add_argument(
        "--zoo", type=given_path, default=PACKAGED, metavar="DIR", help="default: the package's zoo"
    )
    return parser


def main() -> None:
    """The command line."""
    quiet_libraries()
    with user_errors():
        given = _parser().parse_args()
        given.task(given)


if __name__ == "__main__":
    main()
