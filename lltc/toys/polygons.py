"""The toy model of superposition at its regular polygons."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.toys.problems import ToyProblem
from lltc.toys.values.closed_forms import superposition_llc
from lltc.toys.values.hmc import hmc_llc

_DEAD_BIAS = -0.5
_START = {5: (1.17, -0.28), 6: (1.32, -0.62), 7: (1.45, -0.97), 8: (1.55, -1.29)}


def superposition(
    sides: int,
    *,
    dead: int = 0,
    nbeta: float = 1e4,
    localization: float = 1.0,
    num_draws: int = 2000,
    key: int = 0,
) -> ToyProblem:
    """Return the population loss of `f(x) = ReLU(WᵀWx + b)` at the regular polygon of `sides` features.

    c = `sides` + `dead`; dead features have W = 0 and b = -½, and the loss does not feel them nearby.

    Inputs are `x = μ eᵢ`, μ uniform on [0, 1]; the loss of example i (one of the c rows of the identity) is
    `∫ ‖x - f(x)‖² dμ`, a polynomial in the points where ReLU switches. Radius and bias minimize it.
    `llc_finite` comes from `hmc_llc`, (λ, m) from `superposition_llc`.
    Source: Chen et al. 2023 (arXiv 2310.06301).

    Raises:
        InputError: `sides` outside 5…8.

    Example:
        >>> superposition(6).llc
        8.5
    """
    known = superposition_llc(sides)
    params, data = polygon(sides), jnp.eye(sides + dead)
    params = {
        "W": jnp.pad(params["W"], ((0, 0), (0, dead))),
        "b": jnp.pad(params["b"], (0, dead), constant_values=_DEAD_BIAS),
    }
    return ToyProblem(
        name=f"superposition {sides}-gon" + (f" of {sides + dead} features" if dead else ""),
        model=superposition_loss,
        params=params,
        data=data,
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=lambda: hmc_llc(
            superposition_loss,
            params,
            data,
            nbeta=nbeta,
            localization=localization,
            num_chains=128,
            num_draws=num_draws,
            key=key,
        ),
    )


def polygon(sides: int) -> dict[str, jax.Array]:
    """Return `{"W": (2, c), "b": (c,)}` of the regular polygon with the radius and bias of least loss.

    Raises:
        InputError: `sides` outside 5…8.

    Example:
        >>> float(jnp.linalg.norm(polygon(6)["W"][:, 0]))
        1.3205
    """
    from scipy.optimize import minimize

    superposition_llc(sides)
    with jax.enable_x64(True):
        angles = 2 * np.pi * np.arange(sides) / sides
        circle = np.stack([np.cos(angles), np.sin(angles)])

        @jax.jit
        @jax.value_and_grad
        def loss(radius_and_bias: jax.Array) -> jax.Array:
            radius, bias = radius_and_bias
            params = {"W": radius * circle, "b": bias * jnp.ones(sides)}
            return superposition_loss(params, jnp.eye(sides)).mean()

        def value_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = loss(point)
            return float(value), np.asarray(gradient)

        optimum = minimize(value_and_gradient, np.array(_START[sides]), jac=True, tol=1e-14).x
    return {
        "W": jnp.asarray(optimum[0] * circle, jnp.float32),
        "b": jnp.full(sides, optimum[1], jnp.float32),
    }


def superposition_loss(params: Any, batch: jax.Array) -> jax.Array:
    """Return `∫₀¹ ‖μe - ReLU(WᵀW μe + b)‖² dμ`, (batch,), for one-hot rows e of the batch (batch, c).

    Example:
        >>> zero = {"W": jnp.zeros((2, 3)), "b": jnp.zeros(3)}
        >>> superposition_loss(zero, jnp.eye(3))
        Array([0.333, 0.333, 0.333], dtype=float32)
    """
    slope = batch @ params["W"].T @ params["W"]
    offset = jnp.broadcast_to(params["b"], slope.shape)
    safe = jnp.where(slope == 0, 1.0, slope)
    switch = jnp.clip(jnp.where(slope == 0, 0.0, -offset / safe), 0.0, 1.0)
    flat_on = (slope == 0) & (offset > 0)
    low = jnp.where(slope > 0, switch, 0.0)
    high = jnp.where(slope > 0, 1.0, jnp.where(slope < 0, jnp.where(offset > 0, switch, 0.0), flat_on * 1.0))
    cubes, squares, length = (high**3 - low**3) / 3, (high**2 - low**2) / 2, high - low
    active = slope**2 * cubes + 2 * slope * offset * squares + offset**2 * length
    cross = slope * cubes + offset * squares
    return jnp.sum(batch / 3 - 2 * batch * cross + active, axis=-1)
