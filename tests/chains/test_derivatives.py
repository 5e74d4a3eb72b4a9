"""Losses with a backward pass of their own: every verb works, and its numbers are those of the plain loss."""

from typing import Any

import jax
import numpy as np
import pytest

import lltc

RNG = np.random.default_rng(0)
SIZE = 300
X = RNG.normal(size=(SIZE, 4)).astype(np.float32)
Y = (X.sum(1) + RNG.normal(size=SIZE)).astype(np.float32)
W = np.linalg.lstsq(X, Y, rcond=None)[0].astype(np.float32)
FEW: dict[str, Any] = {"nbeta": 100.0, "localization": 1.0, "num_draws": 400, "progress": False}
FEW |= {"num_warmup": 200}


def plain(w: Any, batch: Any) -> Any:
    return 0.5 * (batch[0] @ w - batch[1]) ** 2


@jax.custom_vjp
def half_square(error: Any) -> Any:
    return 0.5 * error**2


half_square.defvjp(lambda error: (0.5 * error**2, error), lambda error, g: (g * error,))


@jax.custom_vjp
def nested(error: Any) -> Any:
    return half_square(error)


nested.defvjp(lambda error: (half_square(error), error), lambda error, g: (g * error,))


@jax.custom_vjp
def opaque(error: Any) -> Any:
    return 0.5 * error**2


def _called_back(error: Any, g: Any) -> Any:
    shape = jax.ShapeDtypeStruct(error.shape, error.dtype)
    return (jax.pure_callback(np.multiply, shape, g, error, vmap_method="broadcast_all"),)


opaque.defvjp(lambda error: (0.5 * error**2, error), _called_back)

LOSSES = {"custom": half_square, "one inside another": nested, "a callback": opaque}


@pytest.fixture(scope="module")
def estimate():
    return lltc.estimate_llc(plain, W, (X, Y), **FEW)


@pytest.mark.parametrize("name", LOSSES)
def test_an_estimate_is_that_of_the_plain_loss(name, estimate):
    loss = LOSSES[name]
    own = lltc.estimate_llc(lambda w, b: loss(b[0] @ w - b[1]), W, (X, Y), **FEW)
    assert own.findings == ()
    assert abs(own.llc - estimate.llc) < 4 * np.hypot(own.llc_se, estimate.llc_se)
    assert own.step_size == pytest.approx(estimate.step_size, rel=0.05)


@pytest.mark.parametrize("name", LOSSES)
def test_more_examples_than_are_read_at_once_need_no_forward_mode(name):
    loss = LOSSES[name]
    options: dict[str, Any] = {**FEW, "examples": 64, "batch_size": 64, "num_draws": 128}
    own, base = (
        lltc.susceptibilities(model, W, (X, Y), components={"front": "[:2]"}, **options)
        for model in (lambda w, b: loss(b[0] @ w - b[1]), plain)
    )
    np.testing.assert_allclose(own.readings.phi, base.readings.phi, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", LOSSES)
def test_the_hessian_is_that_of_the_plain_loss(name):
    loss = LOSSES[name]
    change = lltc.probe(lambda w, b: loss(b[0] @ w - b[1]), W, W, (X, Y), **FEW)
    expected = np.linalg.eigvalsh(X.T @ X / SIZE)[::-1]
    np.testing.assert_allclose(change.stiffness_after.curvature, expected, rtol=5e-3)
