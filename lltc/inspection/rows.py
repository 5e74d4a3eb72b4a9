"""Which examples have no finite loss, and which bear a mark that the loss takes for a label."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.gradients import Anchor
from lltc.chains.loop import Run
from lltc.inspection.findings import Finding
from lltc.inspection.sampled import Sample, losses_around, losses_at
from lltc.posterior.data import Data
from lltc.posterior.layout import Center, count_moved
from lltc.posterior.sharding import to_host
from lltc.posterior.target import LocalPosterior, Target
from lltc.posterior.weighing import weights_of
from lltc.types import PyTree

MOST_NAMED = 5
MARKS = (-100, -1)
LEAST_LABELS = 2
ROUNDINGS = 16
LEAST_OF_LABEL = 0.5


def explain_not_finite(posterior: LocalPosterior, anchor: Anchor) -> str | None:
    """Return the sentence for losses, or a gradient, that are not finite at w*; None where they are."""
    if np.isfinite(float(anchor.loss)) and bool(jnp.isfinite(anchor.gradient).all()):
        return None
    rows = _rows_not_finite(posterior, gradients=False)
    if rows.size:
        return (
            f"model has a loss that is not finite at params on {_counted(rows, posterior.data)}, but every "
            "example needs a finite one; leave these rows out, or mask what is to be ignored (labels such as "
            "-100), and check for log(0) and for overflow in float16."
        )
    rows = _rows_not_finite(posterior, gradients=True)
    if rows.size:
        return (
            "model has finite losses at params but a gradient that is not finite on "
            f"{_counted(rows, posterior.data)}; add a small number under a square root or norm at zero, and "
            "put a where inside of what it guards as well as outside."
        )
    return (
        f"model has loss {float(anchor.loss):g} at params averaged over data, though each is finite, which "
        "overflows; scale the losses down, or compute them in float32."
    )


def _counted(rows: np.ndarray, data: Data) -> str:
    shown = ", ".join(str(row) for row in rows[:MOST_NAMED]) + (", …" if len(rows) > MOST_NAMED else "")
    return f"{len(rows):,} of the {data.size:,} examples (rows {shown})"


def _rows_not_finite(posterior: LocalPosterior, *, gradients: bool) -> np.ndarray:
    """Return which rows have no finite loss at w*, or gradient."""
    data, target, center = posterior.data, posterior.target, posterior.center
    bad, start = [], 0
    for batch in data.blocks(posterior.block):
        count = jax.tree.leaves(batch)[0].shape[0]
        finite = to_host(_finite(target, center, gradients, jax.tree.map(jnp.asarray, batch)))
        bad.append(start + np.flatnonzero(~np.broadcast_to(finite, count)))
        start += count
    return np.concatenate(bad)


@partial(jax.jit, static_argnums=(0, 2))
def _finite(target: Target, center: Center, gradients: bool, batch: PyTree) -> jax.Array:
    """Return which examples, each by itself, have a finite loss at w*, or gradient `(batch,)`."""
    nowhere = jnp.zeros(count_moved(target.layout, center), target.layout.dtype)

    def one(row: PyTree) -> jax.Array:
        alone = jax.tree.map(lambda a: a[None], row)
        loss = lambda position: target.returned(center, position, alone).mean()
        return jnp.isfinite(jax.grad(loss)(nowhere) if gradients else loss(nowhere)).all()

    return jax.lax.map(one, batch)


def look_at_rows(run: Run, sample: Sample, ways: jax.Array, eps: float) -> list[Finding]:
    """Return marks for "ignore" that the loss takes for labels, and examples whose loss never moves."""
    findings = [_idle(run, sample, ways)] if run.posterior.target.per_example else []
    arrays = run.posterior.data.arrays
    rows, looked_at = (sample.pool, " looked at") if arrays is None else (arrays, "")
    for path, leaf in jax.tree_util.tree_leaves_with_path(rows):
        mark = mark_in(leaf)
        label = None if mark is None else _taken_for(run, sample, rows, path, mark, eps)
        if label is not None:
            count = int((leaf == mark).any(tuple(range(1, leaf.ndim))).sum())
            sentence = (
                f"data{jax.tree_util.keystr(path)} holds {mark} in {count:,} of the {len(leaf):,} examples"
                f"{looked_at}, which often stands for what is to be ignored, but the loss is that of {label} "
                "there (JAX counts from the end, or cuts off): multiply the loss there by zero, or leave "
                "these examples out."
            )
            findings.append(Finding("ignored labels", "warning", sentence))
    return [finding for finding in findings if finding is not None]


def _idle(run: Run, sample: Sample, ways: jax.Array) -> Finding | None:
    """Return the finding where losses are zero at w* and everywhere around: no label, or all masked."""
    losses = losses_around(run, sample, ways)
    idle = ~losses.any(0) & (weights_of(sample.pool, losses.shape[1]) > 0)
    if not idle.any() or idle.all() or run.posterior.target.relative:
        return None
    batch = jax.tree.map(lambda a: to_host(a)[: len(idle)], sample.pool)
    unlike = [
        f"data{jax.tree_util.keystr(path)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
        if leaf.ndim == 1
        and np.issubdtype(leaf.dtype, np.integer)
        and not np.isin(leaf[idle], leaf[~idle]).any()
    ]
    rows = ", ".join(str(row) for row in np.sort(sample.rows[: len(idle)][idle])[:MOST_NAMED])
    sentence = (
        f"{idle.sum()} of {len(idle)} examples looked at (rows {rows}) have a loss of exactly zero at the "
        "checkpoint and all around it, yet count in n: "
    )
    if unlike:
        sentence += f"{unlike[0]} holds labels there that no other example has; give them classes, or "
        sentence += "leave them out."
        return Finding("idle examples", "warning", sentence)
    return Finding("idle examples", "note", sentence + "leave out those that are masked altogether.")


def mark_in(leaf: jax.Array) -> int | None:
    """Return -100 or -1 where it is the one negative number among labels from 0 to 2 or more.

    Example:
        >>> mark_in(jnp.array([0, 5, -100])), mark_in(jnp.array([-1, 0, 1])), mark_in(jnp.array([0, 2]))
        (-100, None, None)
    """
    if not leaf.size or not jnp.issubdtype(leaf.dtype, jnp.signedinteger):
        return None
    low, above, high = (int(value) for value in _ends(leaf))
    return low if low in MARKS and above >= 0 and high >= LEAST_LABELS else None


@jax.jit
def _ends(leaf: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the smallest number, the smallest of the others, and the largest."""
    low, high = leaf.min(), leaf.max()
    return low, jnp.where(leaf == low, high, leaf).min(), high


def _taken_for(run: Run, sample: Sample, rows: PyTree, path: tuple, mark: int, eps: float) -> str | None:
    """Return which label the loss takes the mark for: the first, the last, or another; None for none."""
    (leaf,) = (leaf for at, leaf in jax.tree_util.tree_leaves_with_path(rows) if at == path)
    marked = np.resize(
        np.flatnonzero(to_host((leaf == mark).any(tuple(range(1, leaf.ndim))))), len(sample.rows)
    )
    batch = jax.tree.map(lambda a: a[marked], rows)
    places = jnp.zeros((1, run.posterior.num_params), run.posterior.dtype)

    def losses(label: int, *, everywhere: bool = False) -> np.ndarray:
        replaced = jax.tree_util.tree_map_with_path(
            lambda at, a: jnp.where((a == mark) | everywhere, label, a).astype(a.dtype) if at == path else a,
            batch,
        )
        return losses_at(run, sample._replace(pool=replaced), places, np.arange(sample.at_once)[None])

    first, last = 0, int(leaf.max())
    as_given, as_first, as_last = losses(mark), losses(first), losses(last)
    allowed = ROUNDINGS * eps * np.abs(as_given).max()
    if np.abs(as_first - as_last).max() <= allowed:
        return None
    for label, other in ((first, as_first), (last, as_last)):
        if np.abs(as_given - other).max() <= allowed:
            return f"the label {label}"
    # Where what bears the mark does not count, nothing is left of an example that bears it alone.
    alone, labelled = losses(mark, everywhere=True), losses(first, everywhere=True)
    counts = np.isfinite(alone).all() and np.abs(alone).mean() > LEAST_OF_LABEL * np.abs(labelled).mean()
    return "a label" if counts else None
