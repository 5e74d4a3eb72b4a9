"""What of a checkpoint moves, what cannot, and what is there twice."""

import re
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np

from lltc.inspection.findings import Finding, listed
from lltc.posterior.components import can_move, is_statistic
from lltc.posterior.sharding import to_host
from lltc.posterior.target import LocalPosterior

HELD = 0.05
LEAST_ALIKE = 5
SECOND_FACTOR = re.compile(r"lora[^/]*b(/|$)|lora[^/]*/b(/|$)|lora_up", re.IGNORECASE)


def look_at_leaves(posterior: LocalPosterior) -> list[Finding]:
    """Return what is held though it is no weight, what is there twice, and adapters that do nothing."""
    layout, leaves = posterior.target.layout, posterior.center.leaves
    findings = _held(layout.names, leaves)
    moved = [
        (name, leaf) for name, leaf, moves in zip(layout.names, leaves, layout.moved, strict=True) if moves
    ]
    digests = to_host(_extremes([leaf for _, leaf in moved])) if moved else np.zeros((0, 2))
    return findings + _alike(moved, digests) + _zero(moved, digests)


def _held(names: tuple[str, ...], leaves: tuple[jax.Array, ...]) -> list[Finding]:
    statistics = [name for name, leaf in zip(names, leaves, strict=True) if is_statistic(name)]
    fixed = [
        (name, leaf)
        for name, leaf in zip(names, leaves, strict=True)
        if not can_move(name, leaf) and not is_statistic(name)
    ]
    findings = []
    if statistics:
        sentence = f"{listed(statistics)} are held as the checkpoint has them, being running statistics."
        findings.append(Finding("running statistics", "note", sentence))
    if fixed:
        size, total = sum(leaf.size for _, leaf in fixed), sum(leaf.size for leaf in leaves)
        kinds = ", ".join(sorted({str(leaf.dtype) for _, leaf in fixed}))
        sentence = (
            f"{size:,} of the {total:,} numbers of params cannot move, being {kinds} "
            f"({listed([name for name, _ in fixed])}), so that the number is that of the others alone: turn "
            "quantized weights into float32, and leave out what is no weight."
        )
        held = sum(leaf.size for _, leaf in fixed if leaf.ndim)
        findings.append(Finding("fixed numbers", "warning" if held > HELD * total else "note", sentence))
    return findings


def _alike(moved: list[tuple[str, jax.Array]], digests: np.ndarray) -> list[Finding]:
    """Return which leaves of five different numbers or more are equal, as they are or transposed."""
    varied = [
        (name, leaf, tuple(digest))
        for (name, leaf), digest in zip(moved, digests, strict=True)
        if leaf.size >= LEAST_ALIKE and digest[0] != digest[1]
    ]
    pairs = [
        (one, other)
        for (one, leaf, digest), (other, leaf_, digest_) in combinations(varied, 2)
        if digest == digest_ and are_equal(leaf, leaf_)
    ]
    if not pairs:
        return []
    first, second = pairs[0]
    more = f" (and {len(pairs) - 1} more pairs)" if len(pairs) > 1 else ""
    sentence = (
        f"{first} and {second} hold the same numbers{more}: one tied weight that is written out twice moves "
        f'and counts twice; pass tie={{"{second}": "{first}"}} to move it as one.'
    )
    return [Finding("equal leaves", "warning", sentence)]


def are_equal(leaf: jax.Array, other: jax.Array) -> bool:
    """True where two leaves hold the same numbers, as they are or one transposed, and not just a few."""
    one, two = to_host(leaf), to_host(other)
    alike = np.array_equal(one, two) or (one.ndim == 2 and np.array_equal(one.T, two))
    return alike and len(np.unique(one)) >= LEAST_ALIKE


def _zero(moved: list[tuple[str, jax.Array]], digests: np.ndarray) -> list[Finding]:
    names = [
        name
        for (name, _), digest in zip(moved, digests, strict=True)
        if SECOND_FACTOR.search(name) and not digest.any()
    ]
    if not names:
        return []
    sentence = (
        f"{listed(names)} are zero, as before any training: there the other factor does nothing, and the "
        "number is that of an adapter that was not trained; check which checkpoint was loaded."
    )
    return [Finding("zero adapters", "warning", sentence)]


@jax.jit
def _extremes(leaves: list[jax.Array]) -> jax.Array:
    """Return the smallest and largest number of each leaf `(leaf, 2)`; of a complex one in size."""
    sizes = [jnp.abs(leaf) if jnp.iscomplexobj(leaf) else leaf for leaf in leaves]
    wide = jnp.result_type(*sizes)
    ends = [
        jnp.stack([leaf.min(), leaf.max()]).astype(wide) if leaf.size else jnp.zeros(2, wide)
        for leaf in sizes
    ]
    return jnp.stack(ends)
