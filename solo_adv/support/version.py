"""The version of this package, without importing anything heavy."""

from importlib import metadata


def package_version() -> str:
    """The installed version of this package, or ``unknown`` if it runs without being installed."""
    try:
        return metadata.version("solo-adv")
    except metadata.PackageNotFoundError:
        return "unknown"
