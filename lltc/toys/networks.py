"""Linear networks: population losses, and noisy samples where minibatches matter."""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from math import log
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError
from lltc.toys.problems import ToyProblem
from lltc.toys.samples import Point, check_sample, gaussian_inputs, moments, spectrum
from lltc.toys.values.gibbs import gibbs_llc
from lltc.toys.values.linear_forms import deep_linear_llc


def deep_linear(
    widths: Sequence[int],
    *,
    rank: int,
    singular_values: Sequence[float] | None = None,
    num_examples: int | None = None,
    condition_number: float = 1.0,
    noise: float = 1.0,
    at: Point = "minimum",
    offset: float = 0.0,
    linear: bool = True,
    nbeta: float | None = None,
    localization: float = 1.0,
    num_chains: int = 32,
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
        offset: standard deviation of a random move of every weight away from that point, so that `w*` is no
            minimum.
        linear: False takes the slope at `w*` out of the loss.
        nbeta: t.
        localization: γ.
        num_chains: of the Gibbs reference.
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
    S, C = moments(x, y)
    fitted = num_examples is not None and at == "minimum"
    kernels = balanced_kernels(_best_map(S, C, min(widths)) if fitted else true_map, widths)
    if offset:
        kernels = [k + offset * rng.standard_normal(k.shape, dtype=np.float32) for k in kernels]
    if nbeta is None:
        nbeta = 1e3 if num_examples is None else num_examples / log(num_examples)
    sample = "population" if num_examples is None else f"n={num_examples:g}, {at}"
    sample += (f" moved by {offset:g}" if offset else "") + ("" if linear else ", slope removed")
    known = None if fitted or offset or not linear else known
    return ToyProblem(
        name=f"linear net {'-'.join(map(str, widths))} rank {rank}, condition {condition_number:g}, {sample}",
        model=network_loss,
        params={f"layer{i}": {"kernel": jnp.asarray(k)} for i, k in enumerate(kernels, start=1)},
        data={"x": jnp.asarray(x), "y": jnp.asarray(y)},
        nbeta=nbeta,
        localization=localization,
        llc=known and known.llc,
        multiplicity=known and known.multiplicity,
        reference=lambda: gibbs_llc(
            kernels,
            input_moment=S,
            cross_moment=C,
            nbeta=nbeta,
            localization=localization,
            tilts=None if linear else _gradients(kernels, S, C),
            num_chains=num_chains,
            num_sweeps=num_sweeps,
            num_warmup=num_sweeps // 2,
            key=key,
        ),
        linear=linear,
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
    U, s, Vt = np.linalg.svd(target, full_matrices=False)
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
    kernels[0] = U[:, :smallest] @ kernels[0][:smallest]
    kernels[-1] = kernels[-1][:, :smallest] @ Vt[:smallest]
    return [kernel.astype(np.float32) for kernel in kernels]


def _network_data(rng, true_map, num_examples, condition_number, noise, at) -> tuple[np.ndarray, np.ndarray]:
    inputs = true_map.shape[0]
    if num_examples is None:
        x = np.sqrt(inputs) * np.diag(np.sqrt(spectrum(inputs, condition_number)))
        return x.astype(np.float32), (x @ true_map).astype(np.float32)
    check_sample(at, num_examples, inputs, condition_number)
    x = gaussian_inputs(rng, num_examples, inputs, condition_number)
    y = x @ true_map + noise * rng.standard_normal((num_examples, true_map.shape[1]))
    return x, y.astype(np.float32)


def _random_map(rng, inputs: int, outputs: int, singular_values: np.ndarray) -> np.ndarray:
    rank = len(singular_values)
    left = np.linalg.qr(rng.standard_normal((inputs, inputs))[:, :rank])[0]
    right = np.linalg.qr(rng.standard_normal((outputs, outputs))[:, :rank])[0]
    return (left * singular_values) @ right.T


def _gradients(kernels: Sequence[np.ndarray], S: np.ndarray, C: np.ndarray) -> list[np.ndarray]:
    """Return the gradient of the squared loss with respect to every kernel, in float64."""
    double = [kernel.astype(float) for kernel in kernels]
    product = lambda layers, width: reduce(np.matmul, layers, np.eye(width))
    residual = S @ product(double, len(S)) - C
    return [
        product(double[:i], len(S)).T @ residual @ product(double[i + 1 :], kernel.shape[1]).T
        for i, kernel in enumerate(double)
    ]


def _best_map(S: np.ndarray, C: np.ndarray, rank: int) -> np.ndarray:
    """Return the map of at most this rank with the least squared loss (reduced rank regression)."""
    root = np.linalg.cholesky(S)
    U, s, Vt = np.linalg.svd(np.linalg.solve(root, C), full_matrices=False)
    return np.linalg.solve(root.T, (U[:, :rank] * s[:rank]) @ Vt[:rank])
