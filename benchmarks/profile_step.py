"""Where does the time of a step go? Each part of drawing alone, beside the bare gradient.

Run with `make bench-profile`; writes benchmarks/results/profile.md. Every part runs in a loop of its own,
compiled as drawing is, all of them in turn, and the median over rounds is given, for the two networks whose
speed is furthest from the bare gradient's. Parts overlap (the potential
holds the gradients), so they do not add up.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from networks import Network, speed_networks
from provenance import describe_run
from speed import RESULTS, bare_gradient, drawing, prepared, seconds

from lltc.chains.gradients import anchored_slope, losses_and_gradient
from lltc.chains.loop import _chunk
from lltc.chains.steps import Draws, batch_indices, potential
from lltc.kernels.noise import normal, threefry
from lltc.posterior.layout import center_leaves, flatten_leaves

ROUNDS = 5
NETWORKS = ("MLP 784-256-256-10", "6-layer transformer")
SMALL = 1e-9
CHUNK = 256
Body = Callable[[jax.Array, Any, Any], Any]


def parts(network: Network) -> dict[str, Callable[[int], None]]:
    """Return what runs `count` steps of each part, by name."""
    run, settings, state = prepared(network)
    posterior, key = run.posterior, run.key
    target, center = posterior.target, posterior.center
    rows = batch_indices(key, jnp.arange(CHUNK), posterior.batch_size, posterior.data.size)
    batch = lambda at, arrays: jax.tree.map(lambda a: a[rows[at]], arrays)

    def slope(positions: jax.Array, at: jax.Array, arrays: Any) -> Any:
        return anchored_slope(target, center, positions, batch(at, arrays))

    def potential_at(positions: jax.Array, at: jax.Array, arrays: Any) -> Any:
        return potential(target, run.anchor, settings, lambda w: slope(w, at, arrays), positions)

    def recorded(at: jax.Array, positions: jax.Array, arrays: Any) -> jax.Array:
        energy, gradient, record = potential_at(positions, at, arrays)
        recorded_sum = energy + sum(leaf.reshape(len(energy), -1).sum(-1) for leaf in record)
        return positions - SMALL * (gradient + recorded_sum[:, None])

    def update(at: jax.Array, state: Any, _: Any) -> Any:
        nothing = jnp.zeros(len(state.position))
        record = Draws(jnp.zeros((len(nothing), 2)), *[nothing] * 6)
        flat = lambda positions: (nothing, SMALL * positions, record)
        return run.kernel.step(jax.random.fold_in(key, at), state, flat, settings.tuning)[0]

    def joined(join: Callable) -> Body:
        leaves = center_leaves(target.layout, center)
        return lambda at, w, _: w - SMALL * join([leaf * (1 + SMALL * at) for leaf in leaves])

    def shaken(draw: Callable) -> Body:
        return lambda at, w, _: w + SMALL * draw(jax.random.fold_in(key, at), w.shape)

    bodies: dict[str, tuple[Body, Any]] = {
        "gradients of the chains": (
            lambda at, w, arrays: w - SMALL * losses_and_gradient(target, center, w, batch(at, arrays))[1],
            state.position,
        ),
        "… and at w\\*": (
            lambda at, w, arrays: w - SMALL * potential_at(w, at, arrays)[1],
            state.position,
        ),
        "… and what is recorded": (recorded, state.position),
        "noise and update, without gradients": (update, state),
        "leaves at w\\* to one vector": (joined(partial(flatten_leaves, center)), state.position),
        "leaves at w\\* to one vector, fused": (joined(fused), state.position),
        "noise": (shaken(normal), state.position),
        "noise, erf⁻¹ of Threefry": (shaken(inverse_normal), state.position),
        "noise, `jax.random.normal`": (shaken(jax.random.normal), state.position),
    }
    loops = {name: looped(body, first, posterior.data.arrays) for name, (body, first) in bodies.items()}
    empty = {"once in 256 steps: batches chosen, records to the host": round_trips(network)}
    whole = {"drawing": drawing(network)}
    return {"bare gradient, w\\* included": bare_gradient(network)} | loops | empty | whole


def round_trips(network: Network) -> Callable[[int], None]:
    """Return what runs `count` chunks of no steps."""
    run, settings, state = prepared(network)
    at = [state]

    def trip(count: int) -> None:
        for _ in range(count):
            at[0], draws, _ = _chunk(run, at[0], settings, 1, 0)
            jax.tree.map(np.asarray, draws)

    return trip


def looped(body: Body, first: Any, arrays: Any) -> Callable[[int], None]:
    """Return what runs `count` steps of `body` in one compiled loop.

    Every step also squares a 64×64 matrix, some microseconds: a loop without matrix products passes for a
    small one and would run on one core, which drawing does not.
    """

    @jax.jit
    def loop(first: Any, arrays: Any, square: jax.Array, count: int) -> Any:
        def step(at: jax.Array, carry: Any) -> Any:
            inner, square = carry
            return body(at, inner, arrays), square @ square

        return jax.lax.fori_loop(0, count, step, (first, square))

    def run(count: int) -> None:
        jax.block_until_ready(loop(first, arrays, jnp.eye(64), count))

    return run


def fused(leaves: list[jax.Array]) -> jax.Array:
    """Return leaves as one vector in an operation the compiler may fuse with what is around it."""
    return jnp.concatenate([leaf.reshape(-1) for leaf in leaves])


def inverse_normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return normal numbers by inverting the distribution function, in the same loop over coordinates."""
    words = jax.random.key_data(key).reshape(-1)
    indices = [jax.lax.broadcasted_iota(jnp.uint32, shape, axis) for axis in (1, 0)]
    bits, _ = threefry(words[0], words[1], *indices)
    uniform = (bits >> 9).astype(jnp.float32) * 2.0**-22 + (2.0**-23 - 1)
    return jnp.float32(2**0.5) * jax.lax.erf_inv(uniform)


def measure(network: Network) -> dict[str, float]:
    """Return milliseconds a step of each part: the median of rounds in which all are timed in turn."""
    tasks = parts(network)
    for task in tasks.values():
        task(2)
    count = int(np.clip(1.0 / (seconds(tasks["drawing"], 4) / 4), 4, CHUNK))
    times = [[seconds(task, count) / count for task in tasks.values()] for _ in range(ROUNDS)]
    return dict(zip(tasks, 1e3 * np.median(times, 0), strict=True))


def write(columns: dict[str, dict[str, float]], out: Path) -> None:
    """Write the table, a column a network."""
    lines = [
        "# Where the time of a step goes",
        "",
        f"`make bench-profile` ({describe_run()}), milliseconds a step of all chains.",
        "Each part runs in a compiled loop of its own; lines that begin with … hold the one before.",
        "",
        "| part | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for part in next(iter(columns.values())):
        lines.append(f"| {part} | " + " | ".join(f"{column[part]:.3g}" for column in columns.values()) + " |")
    out.mkdir(parents=True, exist_ok=True)
    (out / "profile.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    out = parser.parse_args().out
    networks = [network for network in speed_networks() if network.name in NETWORKS]
    write({network.name: measure(network) for network in networks}, out)


if __name__ == "__main__":
    main()
