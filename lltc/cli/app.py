"""The commands under one name, and how they end."""

import sys
from pathlib import Path

from cyclopts import App

from lltc.cli.comparing import compare
from lltc.cli.estimating import estimate
from lltc.cli.observing import observe
from lltc.cli.probing import components, probe
from lltc.cli.showing import report, show
from lltc.cli.sweeping import sweep
from lltc.errors import InputError
from lltc.version import VERSION

app = App(
    name="lltc",
    help="Local learning coefficients over training: untuned estimates, curves with marked transitions.",
    version=VERSION,
)
for command in (sweep, observe, estimate, probe, components, show, report, compare):
    app.command(command)


@app.command
def demo(*, out: Path = Path("lltc-demo")) -> None:
    """Train the bottleneck network, sweep its checkpoints and compare the curve with the known plateaus.

    Parameters
    ----------
    out
        Folder for checkpoints, sweep, picture and report.
    """
    from lltc.demo import run_demo

    run_demo(out)


def main() -> None:
    """Run the shell; bad input ends with its sentence and exit status 2, Ctrl-C with 130."""
    try:
        app()
    except InputError as error:
        print(f"lltc: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "lltc: stopped; what is finished is kept, and the same command goes on from there.",
            file=sys.stderr,
        )
        sys.exit(130)
