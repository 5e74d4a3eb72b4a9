"""The commands under one name, and how they end."""

import os
import signal
import sys
import threading
from pathlib import Path

from cyclopts import App

from lltc.cli.checking import check
from lltc.cli.comparing import compare
from lltc.cli.estimating import estimate
from lltc.cli.examining import doctor
from lltc.cli.observing import observe
from lltc.cli.probing import components, probe
from lltc.cli.showing import report, show
from lltc.cli.streams import drop_stdout, prepare_streams
from lltc.cli.sweeping import sweep
from lltc.errors import InputError, first_line
from lltc.version import VERSION

STOPPED = "lltc: stopped; what is finished is kept, and the same command goes on from there."
ENDED = "lltc: stopped; what is written is kept, and the same command begins anew."
RESUMED = {"sweep", "demo"}
GRACE = 4.0

app = App(
    name="lltc",
    help="Local learning coefficients over training: untuned estimates, curves with marked transitions.",
    version=VERSION,
    suppress_keyboard_interrupt=False,
)
for command in (sweep, check, observe, estimate, probe, components, show, report, compare, doctor):
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
    """Run the shell; bad input ends with its sentence and status 2, Ctrl-C with 130, SIGTERM with 143.

    What the system refuses, such as to write to a full disk, ends with a sentence and status 1.
    """
    prepare_streams()
    told = threading.Event()
    terminated = _heed_termination(told)
    try:
        app()
        sys.stdout.flush()
    except InputError as error:
        print(f"lltc: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        told.set()
        print(_last_word(), file=sys.stderr)
        sys.exit(143 if terminated.is_set() else 130)
    except BrokenPipeError:
        drop_stdout()
        sys.exit(141)
    except OSError as error:
        drop_stdout()
        print(
            f"lltc: the system stopped the command ({first_line(error)}); what is written is kept: make room "
            "or mend it, and run the command again.",
            file=sys.stderr,
        )
        sys.exit(1)


def _last_word() -> str:
    """Return what a stopped command says: only some go on where they were."""
    return STOPPED if RESUMED & set(sys.argv[1:2]) else ENDED


def _heed_termination(told: threading.Event) -> threading.Event:
    """Stop on SIGTERM as on Ctrl-C, and within seconds even inside a long step; return whether it came.

    A scheduler that takes the machine back kills what has not ended soon. Files are whole or absent, so that
    nothing is lost by leaving at once. Where the end itself takes long, `told` says that the word is out.
    """
    terminated = threading.Event()

    def leave() -> None:
        if not told.is_set():
            print(_last_word(), file=sys.stderr, flush=True)
        os._exit(143)

    def stop(*_: object) -> None:
        if not terminated.is_set():
            terminated.set()
            timer = threading.Timer(GRACE, leave)
            timer.daemon = True
            timer.start()
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    return terminated
