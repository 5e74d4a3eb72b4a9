"""`lltc compare`."""

from pathlib import Path
from typing import Any

from lltc.cli.streams import print_and_save


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

    named: dict[str, Any] = {}
    for folder in folders:
        for name, swept in open_sweeps(folder).items():
            named["/".join(filter(None, [folder.as_posix(), name]))] = swept
    comparison = sweeps.compare(named, structure=structure)
    print_and_save(comparison, out, comparison.report)
    if out is not None:
        print(f"\n{out}")
