"""Where the zoo's files come from and where they are kept, with the environment's settings."""

import os
import tempfile
from importlib import resources
from pathlib import Path

from solo_adv.support.files import given_path

PACKAGED = Path(str(resources.files("solo_adv") / "zoo"))
"""The models that come with the package: an ``index.json`` and the files below ``models/``."""

URL_VARIABLE = "SOLO_ADV_ZOO_URL"
CACHE_VARIABLE = "SOLO_ADV_CACHE"
OFFLINE_VARIABLE = "SOLO_ADV_OFFLINE"


def hosts() -> list[str]:
    """Addresses or directories of other zoos, from ``SOLO_ADV_ZOO_URL``, separated by spaces."""
    return [host.rstrip("/") for host in os.environ.get(URL_VARIABLE, "").split()]


def is_url(host: str) -> bool:
    """Whether a host is a URL."""
    return host.startswith(("http://", "https://"))


def is_on_hub(host: str) -> bool:
    """Whether a host is a repository of the Hugging Face hub; see ``hub.py``."""
    return host.startswith("hf://")


def directories() -> list[Path]:
    """Zoos on this machine: the packaged one and those of :func:`hosts`."""
    named = [host for host in hosts() if not is_url(host) and not is_on_hub(host)]
    return [PACKAGED, *map(given_path, named)]


def cache() -> Path:
    """Where downloads are kept: ``SOLO_ADV_CACHE``, or the user's cache directory.

    For a user without a home directory it is a directory of temporary files.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return given_path(named)
    import pooch  # noqa: PLC0415  it imports requests

    try:
        directory = Path(pooch.os_cache("solo-adv"))
    except RuntimeError:  # a user without a home directory, as in containers
        directory = Path("~")
    if "~" in directory.parts:
        user = os.getuid() if hasattr(os, "getuid") else "user"
        directory = Path(tempfile.gettempdir()) / f"solo-adv-{user}"
    return directory / "zoo"


def offline() -> bool:
    """Whether ``SOLO_ADV_OFFLINE`` forbids network access."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() not in ("", "0", "false", "no")
