"""Runs the protocols one after the other and writes what is done after each."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from solo_adv.adversaries import NORMS
from solo_adv.benchmark.recipes import PROTOCOLS, RECIPES, settings_of
from solo_adv.benchmark.record import Benchmark, judged, write
from solo_adv.data.transfer import transfer_words
from solo_adv.evaluation.evaluating import evaluate
from solo_adv.pretrained import load_pretrained
from solo_adv.report.words import data_words
from solo_adv.support.checks import choice
from solo_adv.support.errors import UserError
from solo_adv.support.fingerprints import fingerprint
from solo_adv.support.processes import rank
from solo_adv.support.settings import plain


def run(cfg: DictConfig) -> tuple[Benchmark, dict[str, Path]]:
    """Judge a checkpoint by every protocol that ``cfg`` (see ``conf/benchmark.yaml``) asks for.

    A protocol whose report exists is not measured again, and an interrupted one continues.

    Returns:
        The benchmark, and the paths of its files by kind. Processes other than the first of
        torchrun return no files.

    Raises:
        UserError: a setting, the checkpoint or the data cannot be used.
    """
    given = plain(cfg)
    protocols, recipe = _protocols(given.pop("protocols")), given.pop("recipe")
    choice("norm", given["norm"], NORMS)
    choice("recipe", recipe, RECIPES)
    if given["checkpoint"] is None:
        raise UserError(
            "checkpoint=PATH is missing: a .ckpt file, a run directory, or a name of the zoo."
        )
    # All recipes are read, so that a mistake is answered before hours of work.
    dataset = _dataset(given)
    settings = {
        protocol: settings_of(recipe, protocol, dataset=dataset, norm=given["norm"])
        for protocol in protocols
    }
    benchmark: Benchmark | None = None
    files: dict[str, Path] = {}
    places: list[str] = []
    for number, (protocol, prescribed) in enumerate(settings.items(), 1):
        if rank() == 0:
            print(f"{number} of {len(settings)}: {protocol}, recipe {recipe}", flush=True)
        report, written = evaluate(OmegaConf.create(_evaluation(given, prescribed)))
        if benchmark is None:
            benchmark = Benchmark(
                method=report.method,
                checkpoint=report.checkpoint,
                recipe=recipe,
                norm=given["norm"],
                data=data_words(report.data),
                crop_passes=report.crop_passes,
                asked=protocols,
                transfer=transfer_words(report.data),
            )
            directory = _directory(written, recipe, protocols)
        if rank() == 0:
            place = os.path.relpath(written["md"], directory)
            benchmark.protocols[protocol] = judged(report, place)
            places.append(place)
            files = write(benchmark, directory)
    assert benchmark is not None
    return benchmark, files


def _protocols(given: Any) -> list[str]:
    names = [given] if isinstance(given, str) else list(given or ())
    for name in names:
        choice("protocols", name, PROTOCOLS)
    if not names:
        raise UserError(f"protocols is empty; it takes one or more of {', '.join(PROTOCOLS)}.")
    return list(dict.fromkeys(names))


def _dataset(given: Mapping[str, Any]) -> str:
    named = (given.get("data") or {}).get("dataset")
    if named is not None:
        return str(named)
    return str(load_pretrained(given["checkpoint"]).config["data"].get("dataset"))


def _evaluation(given: Mapping[str, Any], prescribed: Mapping[str, Any]) -> dict[str, Any]:
    """The config of an evaluation: what the recipe prescribes, unless the user says otherwise."""
    own = {key: value for key, value in given.items() if value is not None}
    usual = NORMS[given["norm"]].usual["epsilon"]
    return {**prescribed, **own, "epsilons": [usual]}


def _directory(written: Mapping[str, Path], recipe: str, protocols: Sequence[str]) -> Path:
    """A directory beside the reports. The first report's name tells the settings apart."""
    if not written:  # another process than the first
        return Path()
    first = written["json"].parent
    words = ("benchmark", recipe, *protocols, fingerprint(first.name)[:8])
    return first.parent / "-".join(words)
