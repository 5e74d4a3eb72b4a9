"""Which lltc this is: its version, and the number of the algorithm."""

from importlib.metadata import PackageNotFoundError, version

# Raised by every change after which the same key gives other numbers, so that sweeps estimate anew.
ALGORITHM = 3


def find_version(package: str = "lltc") -> str:
    """Return the installed version of a package, or a dash where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "—"


VERSION = find_version()
