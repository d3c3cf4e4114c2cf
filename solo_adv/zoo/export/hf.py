"""Export to the Hugging Face hub: a folder for a repository there, which is a zoo as well."""

import json
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from solo_adv.catalogue import hub
from solo_adv.catalogue.download import locate
from solo_adv.catalogue.entry import Entry
from solo_adv.catalogue.index import EMPTY, INDEX_FILE, find
from solo_adv.support.errors import UserError
from solo_adv.zoo.card import card


def write(entry: Entry, directory: Path, head: str | None) -> None:
    """Write the model card, ``config.json``, ``index.json`` and the model's files, not split."""
    files = dict(entry.files)
    reports = [evaluation.report for evaluation in entry.evaluations]
    for file in [*files.values(), *reports]:
        path = directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        copyfile(locate(file, entry.base_urls), path)
    held = entry.to_dict()
    for file in held["files"].values():
        file.pop("parts", None)  # the hub accepts large files
    index = {**EMPTY, "models": [held]}
    (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    config = {"library_name": "solo-adv", "name": entry.name, **entry.training["config"]}
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (directory / "README.md").write_text(f"{card(entry)}{_USE}", encoding="utf-8")


_USE = """
## Load from this repository

`solo_adv.load_pretrained("hf://OWNER/NAME")`, where `OWNER/NAME` is this repository;
`@REVISION` may follow.
"""


def push_to_hub(
    name: str, repository: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Upload a model of the zoo to the Hugging Face hub, as :func:`write` describes it.

    ``solo_adv.load_pretrained("hf://OWNER/NAME")`` loads it from there. ``hf auth login``, or
    ``HF_TOKEN``, says who you are.

    Args:
        name: name of the model. A run becomes one by :func:`solo_adv.zoo.publish`; name its
            directory in ``SOLO_ADV_ZOO_URL``.
        repository: ``OWNER/NAME`` on the hub, which is made if it does not exist.
        private: whether a new repository is private.
        revision: branch to upload to, which must exist; None is the main one.

    Returns:
        The address of the upload.

    Raises:
        UserError: there is no such model, a file of it cannot be had, or the hub refuses.
    """
    with TemporaryDirectory() as folder:
        write(find(name), Path(folder), None)
        return push(Path(folder), repository, private=private, revision=revision)


def push(
    directory: Path, repository: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Upload a folder of :func:`write` as ``OWNER/NAME`` and return its address.

    Raises:
        UserError: the hub refuses the upload.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415  takes a second

    api = HfApi(endpoint=hub.endpoint(), library_name="solo-adv")
    try:
        api.create_repo(repository, exist_ok=True, private=private)
        return str(
            api.upload_folder(folder_path=str(directory), repo_id=repository, revision=revision)
        )
    except Exception as error:  # the hub's client and those below it raise many types
        raise UserError(
            f"The hub refuses '{repository}': {hub.reason(error)}. Try: hf auth login."
        ) from error
