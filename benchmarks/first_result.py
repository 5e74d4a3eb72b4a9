"""How long until the first result? From the start of a fresh Python process to a learning coefficient.

Run with `make bench-first`; writes benchmarks/results/first_result.md. A 64-32-10 network is trained on the
digits beforehand; then every process imports lltc and estimates two checkpoints of it with all defaults. JAX
keeps compiled programs where JAX_COMPILATION_CACHE_DIR says: in an empty folder, then in the one just filled.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from provenance import describe_run

HERE = Path(__file__).parent
ROUNDS = 3
TRAINING = (2000, 2200)
EVENTS = ("jaxpr_trace", "jaxpr_to_mlir_module", "backend_compile")
TARGETS = {"cold": 15.0, "cached": 5.0}


def network() -> Any:
    """Return the network whose loss is trained and sampled; its data are not used."""
    from networks import mlp

    return mlp(64, 32, 10, num_examples=1)


def train(folder: Path) -> None:
    """Train on the digits with Adam and write the examples and two checkpoints."""
    import jax
    import numpy as np
    import optax
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    data = {"x": np.float32(digits.data / 16), "y": digits.target}
    loss, params = network().loss, network().params
    adam = optax.adam(3e-3)

    @jax.jit
    def steps(params: Any, state: Any, count: int) -> Any:
        def step(_: int, carry: Any) -> Any:
            params, state = carry
            slope = jax.grad(lambda w: loss(w, data).mean())(params)
            updates, state = adam.update(slope, state)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, count, step, (params, state))

    np.savez(folder / "data.npz", **data)
    state, done = adam.init(params), 0
    for index, until in enumerate(TRAINING):
        params, state = steps(params, state, until - done)
        np.savez(folder / f"{index}.npz", *jax.tree.leaves(params))
        done = until


def work(folder: Path, began: float) -> dict[str, float]:
    """Import, estimate both checkpoints, and return the seconds of each and what was compiled meanwhile."""
    started = time.time()
    from lltc import estimate_llc

    imported = time.time()
    import jax
    import numpy as np

    events, spent = Counter(), Counter()
    jax.monitoring.register_event_listener(lambda event, **_: events.update([event.split("/")[-1]]))

    def watch(event: str, duration_secs: float, **_: Any) -> None:
        events.update([event.split("/")[-1]])
        spent.update({event.split("/")[-1]: duration_secs})  # pyright: ignore[reportArgumentType]

    jax.monitoring.register_event_duration_secs_listener(watch)
    made = network()
    durations = {"interpreter": started - began, "import": imported - started}
    for index, name in enumerate(("first", "second")):
        events.clear()
        spent.clear()
        at = time.time()
        with np.load(folder / "data.npz") as arrays, np.load(folder / f"{index}.npz") as leaves:
            params = jax.tree.unflatten(jax.tree.structure(made.params), list(leaves.values()))
            estimate = estimate_llc(made.loss, params, dict(arrays), progress=False)
        durations[name] = time.time() - at
        durations["to the first result"] = durations.get("to the first result", time.time() - began)
        durations[f"{name} programs"] = events["backend_compile_duration"]
        durations[f"{name} loaded"] = events["cache_hits"]
        durations[f"{name} making"] = sum(spent[f"{event}_duration"] for event in EVENTS)
        durations[f"{name} draws"] = estimate.num_draws
    return durations


def fresh(folder: Path, cache: Path) -> dict[str, float]:
    """Return what a fresh process finds with compiled programs in `cache`."""
    # Most programs compile in less than the second from which JAX keeps them by default.
    settings = {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    words = [sys.executable, __file__, "--work", str(folder), "--began"]
    done = subprocess.run(
        [*words, repr(time.time())], env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Return, cold and cached in turn, what each process finds."""
    durations = {"cold": [], "cached": []}
    for index in range(rounds):
        for name, runs in durations.items():
            runs.append(fresh(folder, folder / f"cache{index}"))
            print(name, runs[-1], flush=True)
    return durations


INTRODUCTION = """# Seconds to the first result

`make bench-first` ({machine}): medians of {rounds} fresh processes that
estimate two checkpoints of a 64-32-10 network of the digits (2,410 parameters, 1,797 examples) with all
defaults. JAX keeps compiled programs in JAX_COMPILATION_CACHE_DIR, also those that compile in less than a
second (JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0): in an empty folder (cold), in a filled one (cached).
Making programs is tracing, lowering, and compiling or loading them.

| | interpreter | import | first estimate | of it making programs | **to the first result** | target |
|---|---|---|---|---|---|---|
"""
ESTIMATES = """
A second checkpoint is to compile nothing.

| | checkpoint | seconds | draws of each chain | programs made | loaded from the cache | compiled |
|---|---|---|---|---|---|---|
"""


def stages(case: str, runs: list[dict[str, float]]) -> str:
    """Return the seconds on the way to the first result in Markdown."""
    names = ("interpreter", "import", "first", "first making")
    spent = " | ".join(f"{median(run[name] for run in runs):.2f}" for name in names)
    totals = sorted(run["to the first result"] for run in runs)
    whole = f"**{median(totals):.1f}** ({totals[0]:.1f}–{totals[-1]:.1f})"
    return f"| {case} | {spent} | {whole} | ≤ {TARGETS[case]:.0f} |\n"


def programs(case: str, name: str, runs: list[dict[str, float]]) -> str:
    """Return what one checkpoint's estimate took and compiled in Markdown."""
    fields = (name, f"{name} draws", f"{name} programs", f"{name} loaded")
    seconds, draws, made, loaded = (median(run[field] for run in runs) for field in fields)
    counts = f"{draws:,.0f} | {made:.0f} | {loaded:.0f} | {made - loaded:.0f}"
    return f"| {case} | {name} | {seconds:.2f} | {counts} |\n"


def write(durations: dict[str, list[dict[str, float]]], out: Path) -> None:
    """Write the tables of medians."""
    text = INTRODUCTION.format(machine=describe_run(), rounds=len(durations["cold"]))
    text += "".join(stages(case, runs) for case, runs in durations.items()) + ESTIMATES
    text += "".join(
        programs(case, at, runs) for case, runs in durations.items() for at in ("first", "second")
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "first_result.md").write_text(text)
    print(text)


def main() -> None:
    """Measure and write; with `--work`, be one of the processes measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work is not None:
        print(json.dumps(work(chosen.work, chosen.began)))
        return
    with tempfile.TemporaryDirectory() as name:
        # Training is a process of its own, lest its threads and memory stand beside the ones measured.
        code = f"import pathlib, first_result; first_result.train(pathlib.Path({name!r}))"
        subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True)
        write(measure(Path(name), chosen.rounds), chosen.out)


if __name__ == "__main__":
    main()
