"""Lists the models: those of the package and those of other zoos that the user names."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from solo_adv.catalogue import places
from solo_adv.catalogue.entry import Entry
from solo_adv.support.errors import UserError, unknown
from solo_adv.support.files import given_path

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

INDEX_FILE = "index.json"
ZOO_NAME = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
"""Names of models; a text that does not match is a path."""
FORMAT = 2
"""The index's format. The first one, with a field for each figure, can still be read."""
EMPTY: dict[str, Any] = {"format": FORMAT, "base_urls": [], "models": []}


def names(*, dataset: str | None = None, method: str | None = None) -> list[str]:
    """Names of the models, optionally only those of a data set or method.

    Raises:
        UserError: An index cannot be read.
    """
    return [
        entry.name
        for entry in entries().values()
        if dataset in (None, entry.dataset) and method in (None, entry.method)
    ]


def entries() -> dict[str, Entry]:
    """All models by name: the packaged ones and those of ``SOLO_ADV_ZOO_URL``.

    If several models have the same name, the first is taken; the packaged ones come first.

    Raises:
        UserError: An index cannot be read.
    """
    found = dict(packaged())
    for host in places.hosts():
        for name, entry in _of_host(host).items():
            found.setdefault(name, entry)
    return found


def find(name: str) -> Entry:
    """The model of that name; other zoos are asked only if it is not a packaged one.

    Raises:
        UserError: There is no such model; the message names the nearest.
    """
    entry = packaged().get(name) or entries().get(name)
    if entry is None:
        raise unknown("zoo model", name, entries())
    return entry


def find_on_hub(address: str) -> Entry:
    """The model of a repository of the Hugging Face hub, ``hf://OWNER/NAME[@REVISION]``.

    Raises:
        UserError: the repository cannot be read, or does not hold exactly one model.
    """
    try:
        models = _of_host(address)
    except UserError as error:
        raise UserError(
            f"{error} A repository of this package holds {INDEX_FILE}, which "
            "solo_adv.zoo.push_to_hub writes; networks of timm are called timm:NAME."
        ) from error
    if len(models) != 1:
        raise UserError(
            f"{address} holds {len(models)} models ({', '.join(models)}): load one by its name, "
            f"with {places.URL_VARIABLE}={address}."
        )
    return next(iter(models.values()))


def packaged() -> dict[str, Entry]:
    """The models that come with the package, by name."""
    return read_index(places.PACKAGED / INDEX_FILE)


def read_index(file: Path) -> dict[str, Entry]:
    """The models of an ``index.json``, by name.

    Raises:
        UserError: The file cannot be read or is not a valid index.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"Cannot read the zoo's index '{file}': {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The zoo's index '{file}' is not JSON: {error}") from error
    return _models(text, file)


def parse(text: str, source: object) -> dict[str, Any]:
    """Parse an index and check it against the schema.

    Raises:
        UserError: The text is not JSON or does not match the schema; the message says where.
    """
    try:
        held: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise UserError(f"The zoo's index '{source}' is not JSON: {error}") from error
    mistakes = sorted(_validator().iter_errors(held), key=lambda error: len(error.path))
    if mistakes:
        where = "/".join(str(key) for key in mistakes[0].path) or "its top level"
        raise UserError(
            f"The zoo's index '{source}' is not valid at {where}: {mistakes[0].message[:200]} "
            "(see solo_adv/zoo/schema.json; a newer format needs a newer solo-adv)."
        )
    return held


def _models(text: str, source: object) -> dict[str, Entry]:
    held = parse(text, source)
    base_urls = tuple(url.rstrip("/") for url in held["base_urls"])
    try:
        return {model["name"]: Entry.from_dict(model, base_urls) for model in held["models"]}
    except UserError as error:
        raise UserError(f"The zoo's index '{source}' is not valid: {error}") from error


def _of_host(host: str) -> dict[str, Entry]:
    if places.is_on_hub(host):
        from solo_adv.catalogue import hub  # noqa: PLC0415  it imports huggingface_hub

        models = read_index(hub.fetch(host, INDEX_FILE))
        return {name: replace(entry, base_urls=(host,)) for name, entry in models.items()}
    if not places.is_url(host):
        return read_index(given_path(host) / INDEX_FILE)
    from solo_adv.catalogue.download import fetch_index  # noqa: PLC0415  it imports requests

    text = fetch_index(f"{host}/{INDEX_FILE}")
    # A host without an index is a mirror for models of other indexes.
    return {} if text is None else _models(text, f"{host}/{INDEX_FILE}")


@cache
def _validator() -> "Draft202012Validator":
    from jsonschema import Draft202012Validator  # noqa: PLC0415  trainings do without it

    return Draft202012Validator(
        json.loads((places.PACKAGED / "schema.json").read_text(encoding="utf-8"))
    )
