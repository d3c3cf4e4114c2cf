"""Export to the Hugging Face hub: a folder for a repository there, which is a zoo as well."""

import json
from pathlib import Path
from shutil import copyfile

from solo_adv.support.errors import UserError
from solo_adv.zoo.card import card
from solo_adv.zoo.catalogue.download import locate
from solo_adv.zoo.catalogue.entry import Entry
from solo_adv.zoo.catalogue.index import EMPTY, INDEX_FILE


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
    (directory / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n")
    config = {"library_name": "solo-adv", "name": entry.name, **entry.training["config"]}
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (directory / "README.md").write_text(f"{card(entry)}{_USE}")


_USE = """
## Load from this repository

Set `SOLO_ADV_ZOO_URL=https://huggingface.co/USER/REPO/resolve/main`, or to a copy of this folder.
"""


def push(directory: Path, repository: str) -> str:
    """Upload a folder of :func:`write` as ``USER/REPO`` and return its address.

    Raises:
        UserError: The extra ``hf`` is not installed, or the hub refuses the upload.
    """
    try:
        from huggingface_hub import HfApi  # noqa: PLC0415
        from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415
    except ImportError as error:
        raise UserError("--push needs the extra hf: pip install 'solo-adv[hf]'.") from error
    api = HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        return str(api.upload_folder(folder_path=str(directory), repo_id=repository))
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).split("\n", 1)[0]
        raise UserError(f"The hub refuses '{repository}': {reason}. Try: hf auth login.") from error
