"""Repositories of the Hugging Face hub as zoos: ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``.

huggingface_hub downloads, resumes, caches (``HF_HOME``) and sends the user's token; it also obeys
``HF_HUB_OFFLINE`` and ``HF_ENDPOINT``.
"""

import os
import re
from pathlib import Path

from solo_adv.catalogue import places
from solo_adv.support.errors import UserError

_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^@\s]+))?")


def repository_of(address: str) -> tuple[str, str | None]:
    """The repository ``OWNER/NAME`` and the revision (None: the newest) that an address names.

    Raises:
        UserError: the address is not of this form.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError(
            f"'{address}' is no address on the hub: write hf://OWNER/NAME or "
            "hf://OWNER/NAME@REVISION."
        )
    return found[1], found[2]


def fetch(address: str, path: str) -> Path:
    """The local path of a file of a repository, which is downloaded unless it is cached.

    Args:
        address: ``hf://OWNER/NAME[@REVISION]``.
        path: the file's path in the repository.

    Raises:
        UserError: there is no such repository, revision or file, or it cannot be had.
    """
    import huggingface_hub as hub  # noqa: PLC0415  takes a second

    repository, revision = repository_of(address)
    try:
        found = hub.hf_hub_download(
            repository,
            path,
            revision=revision,
            library_name="solo-adv",
            endpoint=endpoint(),
            local_files_only=places.offline(),
        )
    except Exception as error:  # the hub's client and those below it raise many types
        raise UserError(f"Cannot read {path} of {address}: {reason(error)}.") from error
    return Path(found)


def endpoint() -> str | None:
    """The hub that ``HF_ENDPOINT`` names; None is the public one."""
    return os.environ.get("HF_ENDPOINT") or None


def reason(error: Exception) -> str:
    """Say in a few words why the hub refused or could not be asked."""
    from huggingface_hub import errors  # noqa: PLC0415

    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            "it is not on this machine and the hub cannot be asked (no network, or HF_HUB_OFFLINE "
            f"or {places.OFFLINE_VARIABLE} forbids it)"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return "there is no such revision"
    if isinstance(error, errors.GatedRepoError):
        return "its owner must grant access first, and you must log in: hf auth login"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private: hf auth login"
    if isinstance(error, errors.EntryNotFoundError):
        return "the repository has no such file"
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
