"""Which lltc this is: its version, and the number of the algorithm."""

from importlib.metadata import PackageNotFoundError, version

# Raised by every change after which the same key gives other numbers, so that sweeps estimate anew.
ALGORITHM = 9


def find_version(package: str = "lltc") -> str:
    """Return the installed version of a package, or a dash where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "—"


def release_of(version: str) -> str:
    """Return the release that a version belongs to: commits since a tag do not change a sweep's numbers.

    Example:
        >>> release_of("0.2.0"), release_of("0.2.1.dev5+g151133d"), release_of("—")
        ('0.2.0', '0.2.1', '—')
    """
    return version.partition("+")[0].partition(".dev")[0]


VERSION = find_version()
