"""The version of this package, without importing anything heavy."""

from importlib import metadata


def package_version() -> str:
    """Version of this package as it was installed; ``unknown`` where it runs without being so."""
    try:
        return metadata.version("solo-adv")
    except metadata.PackageNotFoundError:
        return "unknown"
