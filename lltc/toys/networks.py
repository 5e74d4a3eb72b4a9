"""Linear regression and linear networks: population losses, and noisy samples where minibatches matter."""

from collections.abc import Sequence
from itertools import pairwise
from math import log
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.closed_forms import regular_llc
from lltc.toys.gibbs import Reference, gibbs_llc
from lltc.toys.linear_forms import deep_linear_llc
from lltc.toys.problems import ToyProblem

Point = Literal["minimum", "truth"]


def linear_regression(
    num_params: int,
    *,
    num_examples: int,
    condition_number: float = 1.0,
    noise: float = 1.0,
    at: Point = "minimum",
    nbeta: float | None = None,
    localization: float = 1.0,
    key: int = 0,
) -> ToyProblem:
    """Return `½(x·w - y)²` on Gaussian inputs and noisy targets; `llc_finite` is exact, λ = d/2.

    The inputs' covariance has geometric eigenvalues from 1 down to `1/condition_number`. `at="minimum"` takes
    the least-squares solution of the sample for `w*`, `at="truth"` the parameter that made it. `nbeta=None`
    means `n / ln n`.

    Raises:
        InputError: `at` neither of the two; fewer examples than parameters.

    Example:
        >>> linear_regression(3, num_examples=500).llc
        1.5
    """
    _check_sample(at, num_examples, num_params, condition_number)
    rng = np.random.default_rng(key)
    x = _gaussian_inputs(rng, num_examples, num_params, condition_number)
    truth = rng.standard_normal(num_params)
    y = (x @ truth + noise * rng.standard_normal(num_examples)).astype(np.float32)
    S, c = _moments(x, y[:, None])
    w = (truth if at == "truth" else np.linalg.solve(S, c[:, 0])).astype(np.float32)
    nbeta = num_examples / log(num_examples) if nbeta is None else nbeta
    known = regular_llc(num_params)
    return ToyProblem(
        name=f"linear regression d={num_params}, n={num_examples:g}, condition {condition_number:g}, {at}",
        model=_regression_loss,
        params={"w": jnp.asarray(w)},
        data={"x": jnp.asarray(x), "y": jnp.asarray(y)},
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=lambda: Reference(_gaussian_llc(S, c[:, 0], w, nbeta, localization), 0.0),
    )


def deep_linear(
    widths: Sequence[int],
    *,
    rank: int,
    singular_values: Sequence[float] | None = None,
    num_examples: int | None = None,
    condition_number: float = 1.0,
    noise: float = 1.0,
    at: Point = "minimum",
    nbeta: float | None = None,
    localization: float = 1.0,
    num_sweeps: int = 2000,
    key: int = 0,
) -> ToyProblem:
    """Return the linear network `x K₁ … K_L`, loss `½‖f(x) - y‖²`, at a balanced point.

    With `num_examples=None` the d₀ inputs are `√d₀ eᵢ` (times the square root of the covariance), so that the
    mean loss is the population loss `½‖W - W*‖²`, and `nbeta=None` means 1000. Otherwise inputs are Gaussian,
    targets carry noise, `nbeta=None` means `n / ln n`, and `at` chooses the best network on the sample
    ("minimum"; no asymptotic λ is claimed there) or the true one ("truth"). `llc_finite` comes from
    `gibbs_llc`.

    Args:
        widths: d₀ … d_L.
        rank: rank of the true map.
        singular_values: of the true map, `rank` of them; default all 1.
        num_examples: n, or None for the population.
        condition_number: of the input covariance.
        noise: standard deviation of the targets' noise.
        at: which point is `w*` on a sample.
        nbeta: t.
        localization: γ.
        num_sweeps: length of the Gibbs reference.
        key: seed of the data and of the reference.

    Raises:
        InputError: an impossible rank, a wrong number of singular values, as `linear_regression`.

    Example:
        >>> deep_linear([5, 3, 5], rank=1).llc
        8.0
    """
    known = deep_linear_llc(widths, rank=rank)
    values = np.ones(rank) if singular_values is None else np.asarray(singular_values, dtype=float)
    if len(values) != rank or np.any(values <= 0):
        raise InputError(f"singular_values={singular_values} must hold rank={rank} positive numbers.")
    rng = np.random.default_rng(key)
    true_map = _random_map(rng, widths[0], widths[-1], values)
    x, y = _network_data(rng, true_map, num_examples, condition_number, noise, at)
    S, C = _moments(x, y)
    fitted = num_examples is not None and at == "minimum"
    kernels = balanced_kernels(_best_map(S, C, min(widths)) if fitted else true_map, widths)
    if nbeta is None:
        nbeta = 1e3 if num_examples is None else num_examples / log(num_examples)
    sample = "population" if num_examples is None else f"n={num_examples:g}, {at}"
    return ToyProblem(
        name=f"linear net {'-'.join(map(str, widths))} rank {rank}, condition {condition_number:g}, {sample}",
        model=network_loss,
        params={f"layer{i}": {"kernel": jnp.asarray(k)} for i, k in enumerate(kernels, start=1)},
        data={"x": jnp.asarray(x), "y": jnp.asarray(y)},
        nbeta=nbeta,
        localization=localization,
        llc=None if fitted else known.llc,
        multiplicity=None if fitted else known.multiplicity,
        reference=lambda: gibbs_llc(
            kernels,
            input_moment=S,
            cross_moment=C,
            nbeta=nbeta,
            localization=localization,
            num_sweeps=num_sweeps,
            num_warmup=num_sweeps // 2,
            key=key,
        ),
    )


def reduced_rank_regression(inputs: int, hidden: int, outputs: int, rank: int, **settings: Any) -> ToyProblem:
    """Return the two-layer case of `deep_linear`, which takes the same settings.

    Raises:
        InputError: as `deep_linear`.

    Example:
        >>> reduced_rank_regression(3, 2, 3, 0).llc
        2.5
    """
    return deep_linear((inputs, hidden, outputs), rank=rank, **settings)


def network_outputs(params: Any, inputs: jax.Array) -> jax.Array:
    """Return `x K₁ K₂ … K_L`, (batch, d_L), of a linear network `{"layer1": {"kernel": …}, …}`.

    Example:
        >>> network_outputs({"layer1": {"kernel": jnp.eye(2)}}, jnp.ones((1, 2)))
        Array([[1., 1.]], dtype=float32)
    """
    for i in range(1, len(params) + 1):
        inputs = inputs @ params[f"layer{i}"]["kernel"]
    return inputs


def network_loss(params: Any, batch: Any) -> jax.Array:
    """Return `½‖f(x) - y‖²`, (batch,), of a linear network on a batch `{"x": …, "y": …}`.

    Example:
        >>> batch = {"x": jnp.ones((1, 2)), "y": jnp.zeros((1, 2))}
        >>> network_loss({"layer1": {"kernel": jnp.eye(2)}}, batch)
        Array([1.], dtype=float32)
    """
    return 0.5 * jnp.sum((network_outputs(params, batch["x"]) - batch["y"]) ** 2, axis=-1)


def balanced_kernels(target: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
    """Return float32 kernels whose product is `target` (d₀, d_L), every layer carrying `s^{1/L}`.

    Raises:
        InputError: `target` of another shape, or of a rank above the smallest width.

    Example:
        >>> first, second = balanced_kernels(4 * np.eye(2), [2, 3, 2])
        >>> first @ second
        array([[4., 0.],
               [0., 4.]], dtype=float32)
    """
    U, s, Vt = np.linalg.svd(target)
    smallest, num_layers = min(widths), len(widths) - 1
    if target.shape != (widths[0], widths[-1]) or np.any(s[smallest:] > 1e-5 * s.max(initial=1e-300)):
        raise InputError(
            f"target of shape {target.shape} cannot be the map of widths {list(widths)}; its shape must "
            f"be ({widths[0]}, {widths[-1]}) and its rank at most {smallest}."
        )
    share = s[:smallest] ** (1 / num_layers)
    kernels = [np.zeros(shape) for shape in pairwise(widths)]
    for kernel in kernels:
        np.fill_diagonal(kernel, [*share, *np.zeros(max(kernel.shape) - smallest)])
    kernels[0] = U @ kernels[0]
    kernels[-1] = kernels[-1] @ Vt
    return [kernel.astype(np.float32) for kernel in kernels]


def _regression_loss(params: Any, batch: Any) -> jax.Array:
    return 0.5 * (batch["x"] @ params["w"] - batch["y"]) ** 2


def _gaussian_llc(S, c, w, nbeta: float, localization: float) -> float:
    """Return t E[K] of `K(w + u) = ½ uᵀSu - uᵀg`, a normal posterior of mean `(tS + γ)⁻¹ t g`."""
    s, V = np.linalg.eigh(S)
    gradient = V.T @ (c - S @ w)
    precision = nbeta * s + localization
    mean = nbeta * gradient / precision
    return float(nbeta * np.sum(s * (1 / precision + mean**2) / 2 - gradient * mean))


def _network_data(rng, true_map, num_examples, condition_number, noise, at) -> tuple[np.ndarray, np.ndarray]:
    inputs = true_map.shape[0]
    if num_examples is None:
        x = np.sqrt(inputs) * np.diag(np.sqrt(_spectrum(inputs, condition_number)))
        return x.astype(np.float32), (x @ true_map).astype(np.float32)
    _check_sample(at, num_examples, inputs, condition_number)
    x = _gaussian_inputs(rng, num_examples, inputs, condition_number)
    y = x @ true_map + noise * rng.standard_normal((num_examples, true_map.shape[1]))
    return x, y.astype(np.float32)


def _gaussian_inputs(rng, num_examples: int, dim: int, condition_number: float) -> np.ndarray:
    spread = np.sqrt(_spectrum(dim, condition_number)).astype(np.float32)
    return rng.standard_normal((num_examples, dim), dtype=np.float32) * spread


def _spectrum(dim: int, condition_number: float) -> np.ndarray:
    return np.geomspace(1.0, 1.0 / condition_number, dim)


def _random_map(rng, inputs: int, outputs: int, singular_values: np.ndarray) -> np.ndarray:
    rank = len(singular_values)
    left = np.linalg.qr(rng.standard_normal((inputs, inputs)))[0][:, :rank]
    right = np.linalg.qr(rng.standard_normal((outputs, outputs)))[0][:, :rank]
    return (left * singular_values) @ right.T


def _moments(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return S and C in float64, block by block, so that a million examples need no second copy."""
    S, C = np.zeros((x.shape[1], x.shape[1])), np.zeros((x.shape[1], y.shape[1]))
    for i in range(0, len(x), 65536):
        block = x[i : i + 65536].astype(float)
        S += block.T @ block
        C += block.T @ y[i : i + 65536]
    return S / len(x), C / len(x)


def _best_map(S: np.ndarray, C: np.ndarray, rank: int) -> np.ndarray:
    """Return the map of at most this rank with the least squared loss (reduced rank regression)."""
    root = np.linalg.cholesky(S)
    U, s, Vt = np.linalg.svd(np.linalg.solve(root, C), full_matrices=False)
    return np.linalg.solve(root.T, (U[:, :rank] * s[:rank]) @ Vt[:rank])


def _check_sample(at: str, num_examples: int, dim: int, condition_number: float) -> None:
    if at not in ("minimum", "truth"):
        raise InputError(f"at={at!r} is not a known point; give 'minimum' or 'truth'.")
    if num_examples <= dim:
        raise InputError(f"num_examples={num_examples} must exceed the {dim} inputs; give more examples.")
    if condition_number < 1:
        raise InputError(f"condition_number={condition_number} must be at least 1.")
