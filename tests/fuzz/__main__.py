"""Fuzz every reader with Atheris: `python -m tests.fuzz [--seconds 300] [TARGET …]`.

Each target has a process of its own, within 3 GB of memory and 60 seconds an input. What is found lies in
`build/fuzz`, and the exit status is 1.
"""

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.targets import TARGETS, seeds

BUILD = Path("build") / "fuzz"
# Beside its inputs a process imports what it instruments, and ends.
BESIDE = 300
LIMITS = ("-rss_limit_mb=3000", "-timeout=60", "-max_len=65536", "-print_final_stats=1")


def main() -> int:
    """Fuzz the targets named, two at a time, and say how it went."""
    parser = argparse.ArgumentParser(description="Fuzz every reader with Atheris.")
    parser.add_argument("--seconds", type=int, default=300, help="in all")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {TARGETS}; default all")
    given = parser.parse_args()
    given.targets = given.targets or list(TARGETS)
    each = max(2 * given.seconds // len(given.targets), 1)
    print(f"{'target':14}{'inputs':>12}{'peak MB':>9}  outcome")
    with ThreadPoolExecutor(2) as pool:
        return int(any(list(pool.map(lambda name: run(name, each), given.targets))))


def run(name: str, seconds: int) -> bool:
    """Fuzz one target in a process of its own; return whether it failed."""
    corpus, found = BUILD / name / "corpus", BUILD / name / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(content)
    limits = (*LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={found}/", str(corpus))
    command = [sys.executable, "-m", "tests.fuzz.fuzzing", name, *limits]
    log = BUILD / name / "log"
    with log.open("w") as output:
        try:
            failed = subprocess.run(
                command, stdout=output, stderr=output, check=False, timeout=seconds + BESIDE
            ).returncode
        except subprocess.TimeoutExpired:
            failed = True
    said = log.read_text(errors="replace")
    inputs, peak = (
        re.search(rf"stat::{word}:\s+(\d+)", said) for word in ("number_of_executed_units", "peak_rss_mb")
    )
    told = [match[1] if match else "?" for match in (inputs, peak)]
    print(f"{name:14}{told[0]:>12}{told[1]:>9}  {f'failed: {log}' if failed else 'no fault'}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
