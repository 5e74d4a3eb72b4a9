"""Fuzz one target in this process, as `tests.fuzz` starts it: `… -m tests.fuzz.fuzzing TARGET LIMIT …`."""

import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fuzz the target that is the first argument, for as long as the others say."""
    import atheris

    name = sys.argv.pop(1)
    instrument = atheris.instrument_imports  # pyright: ignore[reportAttributeAccessIssue]
    # What is imported outside of this is not watched, and chance alone would lead.
    with instrument(include=["lltc.checkpoints", "lltc.sweeps.store"]):
        from tests.fuzz.targets import target

    with tempfile.TemporaryDirectory(prefix="lltc-fuzz-") as scratch:
        atheris.Setup(sys.argv, target(name, Path(scratch)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
