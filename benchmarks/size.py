"""What does an estimate of a network of real size take? A char-level transformer, all defaults, in 8 GB.

Run with `make bench-size`; writes benchmarks/results/size.md. A transformer is trained on the sources of
Python's own library, read as 64 characters and one for all others, in 17,159 sequences of 65. Then processes
of their own estimate it by its behavioral loss: one with nothing chosen, and one as 1000 steps of warm-up and
1000 draws of 4 chains at batch 32 would run, of which a sixteenth is run and timed. `--large` is ten million
parameters, in 12 GB.
"""

import argparse
import json
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from provenance import describe_run

HERE = Path(__file__).parent
LENGTH, SEQUENCES, CHARACTERS = 65, 17_159, 64
STEPS, RATE = 600, 1e-3
SIZES: dict[str, dict[str, Any]] = {
    "small": {"layers": 3, "width": 128, "heads": 4},
    "large": {"layers": 6, "width": 384, "heads": 6},
}
MEMORY = {"small": "8 GB", "large": "12 GB"}
SHARE = 16
PINNED = {"batch_size": 32, "num_chains": 4, "num_warmup": 1000, "num_draws": 1000}


def read_text() -> Any:
    """Return the sequences `(n, 65)` of character numbers."""
    import numpy as np

    text = ""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += path.read_text(errors="ignore")
        if len(text) > 2 * LENGTH * SEQUENCES:
            break
    text = text[: LENGTH * SEQUENCES]
    number = {letter: at for at, (letter, _) in enumerate(Counter(text).most_common(CHARACTERS))}
    return np.array([number.get(letter, CHARACTERS) for letter in text], np.int32).reshape(-1, LENGTH)


def network(size: str) -> Any:
    """Return the transformer, at random parameters."""
    from networks import transformer

    return transformer(**SIZES[size], vocabulary=CHARACTERS + 1, context=LENGTH - 1)


def train(size: str, folder: Path) -> None:
    """Train with Adam and write the checkpoint."""
    import jax
    import numpy as np
    import optax

    from lltc.checkpoints import save_npz

    made, rows, optimizer = network(size), read_text(), optax.adam(RATE)

    @jax.jit
    def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any]:
        slope = jax.grad(lambda w: made.loss(w, {"tokens": batch}).mean())(params)
        updates, state = optimizer.update(slope, state)
        return optax.apply_updates(params, updates), state

    rng, params, state = np.random.default_rng(0), made.params, optimizer.init(made.params)
    for _ in range(STEPS):
        params, state = step(params, state, rows[rng.integers(0, len(rows), 32)])
    save_npz(folder / "step_600.npz", params)


def measure(size: str, folder: Path, options: dict[str, Any]) -> None:
    """Estimate once in this process and print what it took, as JSON."""
    import lltc
    from lltc.compilation import cached_compilation

    made = network(size)
    params = lltc.checkpoints.open_checkpoint(folder / "step_600.npz").load(made.params)
    began = time.perf_counter()
    with cached_compilation():
        loss = lltc.behavioral(made.outputs, "kl")
        estimate = lltc.estimate_llc(loss, params, {"tokens": read_text()}, progress=False, **options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    told = {"seconds": time.perf_counter() - began, "peak": peak, "summary": estimate.summary()}
    print(
        json.dumps(told | {"llc": estimate.llc, "llc_se": estimate.llc_se, "num_params": estimate.num_params})
    )


def run(size: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return what an estimate in a process of its own took."""
    command = [
        sys.executable,
        __file__,
        "--measure",
        json.dumps(options),
        "--folder",
        str(folder),
        "--size",
        size,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def write(size: str, free: dict[str, Any], pinned: float, out: Path) -> None:
    """Write the page."""
    flag = " --large" if size == "large" else ""
    lines = [
        "# A network of real size",
        "",
        f"`python benchmarks/size.py{flag}` ({describe_run()}): a char-level "
        f"transformer of {free['num_params']:,} parameters, {SEQUENCES:,} sequences, behavioral loss, "
        "nothing chosen but "
        f'`memory="{MEMORY[size]}"`.',
        "",
        "```",
        free["summary"],
        "```",
        "",
        f"{free['seconds']:.0f} s, compilation included, and {free['peak'] / 1e9:.2f} GB at most. 1000 steps "
        f"of warm-up and 1000 draws of 4 chains at batch 32 would take {pinned:.0f} s in the same run, "
        f"{pinned / free['seconds']:.1f} times as long (from {2000 // SHARE} steps of them).",
        "",
    ]
    out.mkdir(parents=True, exist_ok=True)
    name = "size.md" if size == "small" else f"size_{size}.md"
    (out / name).write_text("\n".join(lines))


def main() -> None:
    """Train, estimate, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--size", default=None)
    parser.add_argument("--measure", default=None)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    size = given.size or ("large" if given.large else "small")
    if given.measure is not None:
        measure(size, given.folder, json.loads(given.measure))
        return
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        train(size, folder)
        free = run(size, folder, {"memory": MEMORY[size]})
        print(free["summary"], flush=True)
        part = PINNED | {name: PINNED[name] // SHARE for name in ("num_warmup", "num_draws")}
        twice = part | {"num_draws": 2 * part["num_draws"]}
        short, longer = (run(size, folder, some)["seconds"] for some in (part, twice))
        step = (longer - short) / part["num_draws"]
        pinned = short + (2000 - 2 * part["num_draws"]) * step
    write(size, free, pinned, given.out)


if __name__ == "__main__":
    main()
