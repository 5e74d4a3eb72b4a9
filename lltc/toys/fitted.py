"""Classifiers, counts and a nonlinear unit fitted to noisy data: empirical losses at a trained minimum."""

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.toys.counts import best_fit, counted, levels
from lltc.toys.problems import ToyProblem
from lltc.toys.values.closed_forms import LearningCoefficient

_MOST_EVENTS = 25
_SIGNS = np.array([-1.0, 1.0], np.float32)


def logistic_regression(
    *,
    num_examples: int,
    condition_number: float = 1.0,
    offset: float = 0.0,
    linear: bool = True,
    localization: float = 1.0,
    key: int = 0,
) -> ToyProblem:
    """Return the cross entropy of two classes given `x·w`, two inputs, at its minimum on the sample.

    Every input takes 6 values, the second shrunk to a variance of `1/condition_number`; labels are drawn at
    w = (1, -½). `offset` moves `w*` that far along (1, 1), where it is no minimum; `linear=False` takes the
    slope out of the loss. `llc_finite` is exact, by quadrature; λ = 1 at the minimum.

    Example:
        >>> logistic_regression(num_examples=1000).llc
        1.0
    """
    x = np.array(list(product(levels(6), levels(6) / np.sqrt(np.float32(condition_number)))))
    cells = {"x": np.repeat(x, 2, axis=0), "y": np.tile(_SIGNS, len(x))}
    chance = 1 / (1 + np.exp(-cells["y"] * (cells["x"] @ np.array([1.0, -0.5]))))
    counts = _drawn(num_examples, chance / len(x), key)
    fit = best_fit(_logistic_loss, {"w": jnp.zeros(2)}, cells, counts)
    point = (f" moved by {offset:g}" if offset else "") + ("" if linear else ", slope removed")
    return counted(
        f"logistic regression d=2, n={num_examples:g}, condition {condition_number:g}, minimum{point}",
        _logistic_loss,
        {"w": fit["w"] + offset / np.sqrt(2)},
        cells,
        counts,
        localization=localization,
        known=None if offset else LearningCoefficient(1.0, 1),
        linear=linear,
    )


def product_logistic(
    *, num_examples: int, slope: float = 1.0, localization: float = 4.0, key: int = 0
) -> ToyProblem:
    """Return the cross entropy of two classes given `a b x`, at the best a = b on the sample.

    x takes 8 values, labels are drawn at ab = `slope` > 0. The valley ab = const of a two-layer classifier
    survives the noise: λ = ½. `llc_finite` is exact, by quadrature.

    Example:
        >>> product_logistic(num_examples=1000).llc
        0.5
    """
    x = levels(8)
    cells = {"x": np.repeat(x, 2), "y": np.tile(_SIGNS, len(x))}
    counts = _drawn(num_examples, 1 / (1 + np.exp(-slope * cells["x"] * cells["y"])) / len(x), key)
    start = {"a": jnp.sqrt(slope), "b": jnp.sqrt(slope)}
    return counted(
        f"logistic product ab={slope:g}, n={num_examples:g}, minimum",
        _product_loss,
        best_fit(_product_loss, start, cells, counts),
        cells,
        counts,
        localization=localization,
        known=LearningCoefficient(0.5, 1),
    )


def poisson_regression(*, num_examples: int, localization: float = 1.0, key: int = 0) -> ToyProblem:
    """Return the Poisson loss `e^η - yη`, `η = a + b x`, at its minimum on the sample; λ = 1.

    x takes 8 values, counts y are drawn at a = ½, b = 0.4. `llc_finite` is exact, by quadrature.

    Example:
        >>> poisson_regression(num_examples=500).num_params
        2
    """
    from scipy.stats import poisson

    x, events = levels(8), np.arange(_MOST_EVENTS, dtype=np.float32)
    cells = {"x": np.repeat(x, len(events)), "y": np.tile(events, len(x))}
    chance = poisson.pmf(cells["y"], np.exp(0.5 + 0.4 * cells["x"]))
    counts = _drawn(num_examples, chance / chance.sum(), key)
    cells, counts = _occurring(cells, counts)
    return counted(
        f"Poisson regression d=2, n={num_examples:g}, minimum",
        _poisson_loss,
        best_fit(_poisson_loss, {"a": jnp.zeros(()), "b": jnp.zeros(())}, cells, counts),
        cells,
        counts,
        localization=localization,
        known=LearningCoefficient(1.0, 1),
    )


def tanh_unit(
    *, num_examples: int, noise: float = 0.5, localization: float = 4.0, key: int = 0
) -> ToyProblem:
    """Return `½(a tanh(b x) - y)²` at its minimum on a sample of `y = tanh(x) ± noise`; λ = 1.

    x takes 20 values and the noise two. `llc_finite` is exact, by quadrature.

    Example:
        >>> tanh_unit(num_examples=500).llc
        1.0
    """
    x = levels(20)
    cells = {
        "x": np.repeat(x, 2),
        "y": np.repeat(np.tanh(x), 2) + np.float32(noise) * np.tile(_SIGNS, len(x)),
    }
    counts = _drawn(num_examples, np.full(2 * len(x), 0.5 / len(x)), key)
    return counted(
        f"tanh unit, n={num_examples:g}, noise {noise:g}, minimum",
        _unit_loss,
        best_fit(_unit_loss, {"a": jnp.ones(()), "b": jnp.ones(())}, cells, counts),
        cells,
        counts,
        localization=localization,
        known=LearningCoefficient(1.0, 1),
    )


def softmax_regression(
    *,
    num_examples: int,
    hidden: int | None = None,
    localization: float = 1.0,
    num_draws: int = 1500,
    key: int = 0,
) -> ToyProblem:
    """Return the cross entropy of 3 classes given 4 inputs ±1, at its minimum on the sample.

    With `hidden=None` logits are `x K + b`: 15 parameters, of which adding one number to all logits leaves 5
    directions exactly flat, λ = 5. Otherwise they are `x K₁ K₂`, `hidden` units wide, labels drawn from a map
    of rank 1: the valleys of a two-layer network under classification noise. `llc_finite` by `hmc_llc`.

    Example:
        >>> softmax_regression(num_examples=1000).num_params
        15
    """
    rng = np.random.default_rng(key)
    x = np.array(list(product(_SIGNS, repeat=4)))
    cells = {"x": np.repeat(x, 3, axis=0), "y": np.tile(np.arange(3), len(x))}
    true_map = np.outer(rng.standard_normal(4), [1.0, 0.0, -1.0]) / 2
    if hidden is None:
        start = {"kernel": jnp.zeros((4, 3)), "bias": jnp.zeros(3)}
    else:
        U, s, Vt = np.linalg.svd(true_map, full_matrices=False)
        first, second = U[:, :hidden] * np.sqrt(s[:hidden]), np.sqrt(s[:hidden])[:, None] * Vt[:hidden]
        start = {"first": jnp.asarray(first), "second": jnp.asarray(second)}
    logits = cells["x"] @ true_map
    chance = np.take_along_axis(np.exp(logits), cells["y"][:, None], axis=1)[:, 0] / np.exp(logits).sum(1)
    counts = _drawn(num_examples, chance / len(x), key)
    shape = "15 parameters" if hidden is None else f"4-{hidden}-3"
    return counted(
        f"softmax regression {shape}, n={num_examples:g}, minimum",
        _softmax_loss,
        best_fit(_softmax_loss, start, cells, counts),
        cells,
        counts,
        localization=localization,
        known=LearningCoefficient(5.0, 1) if hidden is None else None,
        num_draws=num_draws,
        key=key,
    )


def _drawn(num_examples: int, chance: np.ndarray, key: int) -> np.ndarray:
    return np.random.default_rng(key).multinomial(num_examples, chance)


def _occurring(cells: Any, counts: np.ndarray) -> tuple[Any, np.ndarray]:
    return {name: leaf[counts > 0] for name, leaf in cells.items()}, counts[counts > 0]


def _logistic_loss(params: Any, batch: Any) -> jax.Array:
    return jnp.logaddexp(0.0, -batch["y"] * (batch["x"] @ params["w"]))


def _product_loss(params: Any, batch: Any) -> jax.Array:
    return jnp.logaddexp(0.0, -batch["y"] * params["a"] * params["b"] * batch["x"])


def _poisson_loss(params: Any, batch: Any) -> jax.Array:
    log_rate = params["a"] + params["b"] * batch["x"]
    return jnp.exp(log_rate) - batch["y"] * log_rate


def _unit_loss(params: Any, batch: Any) -> jax.Array:
    return 0.5 * (params["a"] * jnp.tanh(params["b"] * batch["x"]) - batch["y"]) ** 2


def _softmax_loss(params: Any, batch: Any) -> jax.Array:
    if "kernel" in params:
        logits = batch["x"] @ params["kernel"] + params["bias"]
    else:
        logits = batch["x"] @ params["first"] @ params["second"]
    log_chance = jax.nn.log_softmax(logits, axis=-1)
    return -jnp.take_along_axis(log_chance, batch["y"][:, None], axis=-1)[:, 0]
