"""Describes what a result was measured with: versions, commit, hardware."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from solo_adv.support.processes import usable_cores, world_size
from solo_adv.support.version import package_version

PACKAGES = ("torch", "torchvision", "lightning", "timm", "pyautoattack")


def versions() -> dict[str, str | None]:
    """Versions of Python, of the packages that results depend on, and of this package.

    A package that is not installed has None.
    """
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    found["solo_adv"] = package_version()
    return found


def git_commit() -> str | None:
    """Commit of the git checkout that this package runs from, or None outside a checkout.

    ``-dirty`` is appended if files were edited.
    """
    folder = Path(__file__).parents[1]
    # An installed copy can lie inside the checkout of another project. Its commit must not be used.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(folder, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def hardware(device: torch.device | str) -> dict[str, Any]:
    """Kind and name of ``device``, number of usable processor cores, and number of processes."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {"device": device.type, "name": name, "cores": usable_cores(), "processes": world_size()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
