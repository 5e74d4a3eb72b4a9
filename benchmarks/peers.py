"""How accurate are other estimators with the gradients lltc spent? Same problems, density, data, row format.

`make bench-peers` runs lltc untuned for 1000 steps of warm-up and 2000 draws of 8 chains on the problems
named in peers/problems.txt, makes an environment a peer (benchmarks/.peers, apart from lltc's), runs the
peers with as many per-example gradients, and writes results/accuracy_peers.{csv,md}. The workers' docstrings
hold every setting and its source.
"""

import argparse
import csv
import math
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import accuracy
import numpy as np
from provenance import describe_run

from lltc.toys import table

HERE = Path(__file__).parent
# devinterp 1.3.2 with torch's CPU build; pip, as against uv, takes a CPU wheel from its configured links.
PINS = {
    "devinterp": ("devinterp==1.3.2", "torch==2.13.0", "jax==0.10.2", "jaxlib==0.10.2", "scipy"),
    "blackjax": ("blackjax==1.7.1", "-c", str(HERE.parent / "constraints.txt"), "-e", str(HERE.parent)),
}
NUM_DRAWS = 2000
PACKAGES = ("devinterp", "torch", "blackjax", "jax")


def find_python(peer: str) -> str:
    """Return an interpreter for the peer's environment: 3.11 for devinterp, this one for the other."""
    if peer == "blackjax":
        return sys.executable
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.11*/bin/python"), reverse=True)
    for candidate in ("python3.11", *map(str, pyenv)):
        try:
            subprocess.run([candidate, "-c", "import venv, ensurepip"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    raise SystemExit("devinterp needs CPython 3.11, which is neither on PATH nor under ~/.pyenv/versions.")


def set_up(peer: str, home: Path, packages: tuple[str, ...] = ()) -> Path:
    """Return the interpreter of the peer's environment, made if need be, of its pins or of `packages`."""
    python = home / peer / "bin" / "python"
    ready = home / peer / "ready"
    if not ready.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / ".gitignore").write_text("*\n")
        subprocess.run([find_python(peer), "-m", "venv", "--clear", home / peer], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *(packages or PINS[peer])], check=True)
        ready.touch()
    return python


def run(peer: str, arguments: argparse.Namespace) -> Path:
    """Run one peer's worker and return the file of its rows."""
    rows = arguments.home / f"rows-{peer}.csv"
    if not arguments.resume:
        rows.unlink(missing_ok=True)
    command = [set_up(peer, arguments.home), HERE / "peers" / f"{peer}_worker.py", arguments.rows, rows]
    command += ["--keys", str(arguments.keys)]
    command += ["--problems", arguments.problems]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment)
    return rows


def run_lltc(arguments: argparse.Namespace) -> None:
    """Write lltc's own rows, which set the number of gradients, unless they are there already."""
    if arguments.resume and arguments.rows.exists():
        return
    names = arguments.problems.read_text().splitlines()
    if missing := set(names) - {problem.name for problem in table()}:
        raise SystemExit(f"{arguments.problems} names {sorted(missing)[0]!r}, which the table does not hold.")
    arguments.rows.parent.mkdir(parents=True, exist_ok=True)
    rows = accuracy.run(names, arguments.keys, processes=1, num_draws=NUM_DRAWS)
    accuracy.write_rows(list(rows), arguments.rows)


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def summarise(mine: list[dict[str, str]], theirs: list[dict[str, str]]) -> list[str]:
    """Return the table by method; a diverged run counts as an infinite error."""
    own = {(row["problem"], row["key"]): row for row in mine if row["method"] == "lltc"}
    methods: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in theirs:
        methods[row["method"]].append(row)
    lines = [
        "| method | runs | diverged | median abs. error | p90 | lltc's median | ratio | gradients spent |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for method, rows in methods.items():
        pairs = [(row, own[row["problem"], row["key"]]) for row in rows]
        errors = np.array([size(row) for row, _ in pairs])
        reference = np.median([size(match) for _, match in pairs])
        spent = np.median([int(row["gradients"]) / int(match["gradients"]) for row, match in pairs])
        median, p90 = np.median(errors), np.quantile(errors, 0.9, method="higher")
        lines.append(
            f"| {method} | {len(rows)} | {np.isinf(errors).sum()} | {percent(median)} | {percent(p90)} "
            f"| {percent(reference)} | {median / reference:.1f} | {spent:.2f} |"
        )
    return lines


def list_problems(mine: list[dict[str, str]], theirs: list[dict[str, str]]) -> list[str]:
    """Return the table of signed errors, a row a problem, a column a method, keys side by side."""
    methods = ["lltc", *dict.fromkeys(row["method"] for row in theirs)]
    cells: dict[tuple[str, str], list[str]] = defaultdict(list)
    keys = {(row["problem"], row["key"]) for row in theirs}
    for row in (*(row for row in mine if (row["problem"], row["key"]) in keys), *theirs):
        error = float(row["error"])
        cells[row["problem"], row["method"]].append(
            f"{100 * error:+.1f}" if math.isfinite(error) else "diverged"
        )
    lines = ["| problem | " + " | ".join(methods) + " |", "| --- |" + " ---: |" * len(methods)]
    for problem in dict.fromkeys(row["problem"] for row in theirs):
        shown = (", ".join(cells[problem, method]) or "–" for method in methods)
        lines.append(f"| {problem} | " + " | ".join(shown) + " |")
    return lines


def size(row: dict[str, str]) -> float:
    """Return |error|, infinite where the run diverged."""
    error = abs(float(row["error"]))
    return error if math.isfinite(error) else math.inf


def percent(value: float) -> str:
    """Write a fraction in percent."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "diverged"


def versions(home: Path) -> str:
    """Name the versions in every environment."""
    script = f"""
import importlib.metadata as m, sys
names = [n + " " + m.version(n) for n in {PACKAGES} if any(True for _ in m.distributions(name=n))]
print("Python " + sys.version.split()[0] + ", " + ", ".join(names))
"""
    pythons = [home / peer / "bin" / "python" for peer in PINS]
    answers = [
        subprocess.run([python, "-c", script], check=True, capture_output=True, text=True).stdout.strip()
        for python in pythons
        if python.exists()
    ]
    return "; ".join([*answers, describe_run()])


def main() -> None:
    """Run the peers and write their rows and the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=2)
    parser.add_argument(
        "--problems", type=Path, default=HERE / "peers" / "problems.txt", help="names, one a line"
    )
    parser.add_argument("--peers", nargs="*", default=list(PINS), help="peers to run; none: only sum up")
    parser.add_argument("--resume", action="store_true", help="keep the rows of an earlier, broken-off run")
    parser.add_argument("--home", type=Path, default=HERE / ".peers", help="where the environments go")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    arguments.rows = arguments.home / "rows-lltc.csv"
    run_lltc(arguments)
    for peer in arguments.peers:
        run(peer, arguments)
    write(arguments)


def write(arguments: argparse.Namespace) -> None:
    """Join the rows of the peers and write them with their summary."""
    files = [arguments.home / f"rows-{peer}.csv" for peer in PINS]
    theirs = [row for file in files if file.exists() for row in read(file)]
    if not theirs:
        raise SystemExit(f"No peer has left rows in {arguments.home}; run at least one of {', '.join(PINS)}.")
    mine = read(arguments.rows)
    arguments.out.mkdir(parents=True, exist_ok=True)
    done = {(row["problem"], row["key"]) for row in theirs}
    with (arguments.out / "accuracy_peers.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(theirs[0]))
        writer.writeheader()
        writer.writerows([row for row in mine if (row["problem"], row["key"]) in done])
        writer.writerows(theirs)
    command = (
        "make bench-peers" if arguments.keys == 2 else f"python benchmarks/peers.py --keys {arguments.keys}"
    )
    text = [
        "# Other estimators on lltc's problems",
        "",
        f"lltc: untuned, 8 chains, 1000 steps of warm-up and {NUM_DRAWS} draws. The others have the same",
        "density, parameters and data, and the per-example gradients lltc spent on each problem and key:",
        "`gradients spent` is the median share of them (NUTS, its warm-up of fixed length, may overrun).",
        "What the peers spend on choosing a step size is not counted.",
        '"Best step in hindsight" is chosen by the known answer, which no user has.',
        "",
        *summarise(mine, theirs),
        "",
        f"Command: `{command}`. {versions(arguments.home)}.",
        "",
        "Signed error in percent, key by key:",
        "",
        *list_problems(mine, theirs),
        "",
    ]
    (arguments.out / "accuracy_peers.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
