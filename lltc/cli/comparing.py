"""`lltc compare`."""

from pathlib import Path
from typing import Any


def compare(*folders: Path, structure: str = "llc", out: Path | None = None) -> None:
    """Match the transitions of several runs and compare their sizes and what changes with them.

    Parameters
    ----------
    folders
        Sweeps' folders, or folders of several runs.
    structure
        A component whose transitions are compared instead of the whole's.
    out
        Where an HTML page of all runs goes; none by default.
    """
    from lltc import sweeps
    from lltc.cli.showing import open_sweeps

    found: dict[str, Any] = {}
    for folder in folders:
        for name, swept in open_sweeps(folder).items():
            found["/".join(filter(None, [folder.as_posix(), name]))] = swept
    compared = sweeps.compare(found, structure=structure)
    print(compared)
    if out is not None:
        print(f"\n{compared.report(out)}")
