"""What can be left out of a quadratic is known: the curve is the sum of ½ h δ² over what went."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lltc import InputError
from lltc.kernels import baoab
from lltc.posterior.target import local_posterior
from lltc.probes import Stiffness, compression_curve, probe
from lltc.probes.hessian import find_directions
from tests.problems import DUMMY, constant

CURVATURE = np.array([0.0, 100.0, 0.0, 1.0, 0.0, 10.0, 0.0, 0.0])
POINT = np.array([3.0, 0.1, -2.0, 1.0, 4.0, -0.5, 5.0, 0.3], np.float32)
MODEL = constant(lambda w: 0.5 * jnp.sum(CURVATURE * (w - POINT) ** 2))
OPTIONS: dict[str, Any] = {"nbeta": 100.0, "localization": 1.0, "progress": False}
rng = np.random.default_rng(0)
TURN = np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)
TURNED = constant(lambda w: 0.5 * jnp.sum(CURVATURE * (TURN.T @ w - POINT) ** 2))


@pytest.fixture(scope="module")
def curve() -> Any:
    return compression_curve(MODEL, POINT, DUMMY, **OPTIONS)


def test_free_parameters_go_first_however_large(curve):
    np.testing.assert_allclose(curve.fraction, np.arange(9) / 8)
    costs = np.sort(0.5 * CURVATURE * POINT**2)
    np.testing.assert_allclose(curve.rise[:6], 0, atol=1e-6)
    assert sorted(np.diff(curve.rise)[5:]) == pytest.approx(costs[5:], rel=1e-4)
    by_size = np.argsort(np.abs(POINT))
    exact = np.concatenate([[0], np.cumsum((0.5 * CURVATURE * POINT**2)[by_size])])
    np.testing.assert_allclose(curve.baseline, exact, rtol=1e-4, atol=1e-6)
    assert curve.tolerance == 0.01
    assert (curve.removable, curve.baseline_removable) == (5 / 8, 0.0)
    np.testing.assert_allclose(curve.params, np.where(CURVATURE > 0, POINT, 0))
    assert repr(curve) == (
        "CompressionCurve(62.5 % of the parameters can go within 0.01 nats, 0.0 % in the order of size alone)"
    )


def test_directions_go_where_parameters_cannot():
    w = TURN @ POINT
    options: dict[str, Any] = OPTIONS | {"tolerance": 1e-3}
    by_parameters = compression_curve(TURNED, w, DUMMY, **options)
    by_directions = compression_curve(TURNED, w, DUMMY, by="directions", **options)
    assert by_directions.removable == 5 / 8
    assert by_parameters.removable < 5 / 8
    np.testing.assert_allclose(by_directions.rise[-1], 0.5 * CURVATURE @ POINT**2, rtol=1e-4)
    left = TURN.T @ np.asarray(by_directions.params)
    np.testing.assert_allclose(left[CURVATURE > 0], POINT[CURVATURE > 0], atol=1e-3)


def test_each_parameter_keeps_the_digits_its_posterior_needs():
    """Rounding to steps c/√(nβh + γ) costs at most ⅛ c² Σ h/(nβh + γ)."""
    found = compression_curve(MODEL, POINT, DUMMY, by="precision", **OPTIONS)
    assert np.all(np.diff(found.fraction) > 0)
    assert found.removable > found.baseline_removable + 0.03
    variance = 1 / (100 * CURVATURE + 1)
    few = np.argmax(found.rise > 1e-5)
    bits = 32 * (1 - found.fraction[few:])
    steps = [_step(b, variance) for b in bits]
    bound = [c**2 / 8 * CURVATURE @ variance for c in steps]
    assert np.all(found.rise[few:] <= 1.3 * np.array(bound))


def _step(bits, variance):
    """Return the c at which parameters take so many bits on average."""
    grid = 2.0 ** np.linspace(-12, 12, 2001)
    taken = np.log2(1 + 2 * np.abs(POINT).max() / (grid[:, None] * np.sqrt(variance))).mean(1)
    return grid[np.argmin(np.abs(taken - bits))]


def test_a_probe_brings_all_that_is_needed():
    """Going back towards the checkpoint before: what did not move costs nothing."""
    before = POINT + np.array([0, 0, 0, 1, 0, 1, 0, 0], np.float32)
    seen = probe(MODEL, before, POINT, DUMMY, **OPTIONS)
    found = compression_curve(
        MODEL, POINT, DUMMY, reference=before, stiffness=seen.stiffness_after, tolerance=0.6
    )
    assert found.removable == 7 / 8
    exact = np.zeros(9)
    exact[7:] = 0.5, 5.5
    np.testing.assert_allclose(found.rise, exact, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.params, POINT + np.array([0, 0, 0, 1, 0, 0, 0, 0]), rtol=1e-6)


@pytest.mark.parametrize("stiff", [np.full(6, 2.0), np.geomspace(0.5, 50, 6), np.full(1, 3.0)])
@pytest.mark.parametrize("key", range(3))
def test_directions_beyond_those_looked_at_go_at_once(stiff, key):
    """The Hessian has fewer stiff directions than are looked at, the checkpoint lies along all parameters.

    What the loss does not hold costs nothing; a stiff direction along which the checkpoint lies near zero may
    cost little.
    """
    count = len(stiff)
    curvature = np.concatenate([stiff, np.zeros(600 - count)])
    point = np.ones(600, np.float32)
    model = constant(lambda w: 0.5 * jnp.sum(curvature * (w - point) ** 2))
    options: dict[str, Any] = OPTIONS | {"directions": 8, "num_draws": 400, "num_warmup": 200, "key": key}
    curve = compression_curve(model, point, DUMMY, by="directions", **options)
    free = (600 - count) / 600
    assert curve.fraction[:2] == pytest.approx([0, 592 / 600])
    assert curve.rise[1] == pytest.approx(0, abs=1e-6)
    assert curve.removable >= free - 1e-9
    assert curve.rise[-1] == pytest.approx(0.5 * stiff.sum(), rel=1e-3)
    exact = compression_curve(model, point, DUMMY, by="directions", tolerance=0.0, **options)
    assert exact.removable >= 592 / 600


@pytest.mark.parametrize("most", [1e8, np.inf, -np.inf, np.nan])
def test_what_costs_much_to_leave_out_does_not_hide_what_costs_little(most):
    """The large parameter's loss may be infinite, or no number at all; the small one costs half a nat."""
    point = np.array([1e4, 1.0], np.float32)
    few: dict[str, Any] = {"kernel": baoab(), "num_draws": 128, "num_warmup": 64}
    model = constant(
        lambda w: jnp.where(w[0] == 0, most, 0.5 * (w[0] - point[0]) ** 2) + 0.5 * (w[1] - 1) ** 2
    )
    curve = compression_curve(model, point, DUMMY, **OPTIONS, **few)
    assert curve.rise[1] == pytest.approx(0.5)
    assert (curve.removable, curve.baseline_removable) == (0, 0)


@pytest.mark.parametrize("rank", [0, 1, 5, 8])
def test_the_stiffest_directions_are_orthonormal_and_right(rank):
    """A Hessian of any rank, its eigenvalues equal or not: the directions found span its stiffest ones."""
    rng = np.random.default_rng(rank)
    basis = np.linalg.qr(rng.normal(size=(600, max(rank, 1))))[0].astype(np.float32)
    values = np.repeat(rng.uniform(0.5, 5, size=(rank + 1) // 2), 2)[:rank]
    model = constant(lambda w: 0.5 * jnp.sum(values * (basis[:, :rank].T @ w) ** 2) + 0 * jnp.sum(w))
    curved = find_directions(local_posterior(model, np.zeros(600, np.float32), DUMMY, nbeta=9.0), 8, 4, 0)
    gram = curved.directions.T @ curved.directions
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5)
    top = np.sort(values)[::-1][: len(gram)]
    np.testing.assert_allclose(curved.curvature[: len(top)], top, rtol=1e-4)


def test_the_record_is_labelled_and_drawn(curve):
    table = curve.to_dataset()
    assert float(table.rise.sel(fraction=1.0)) == curve.rise[-1]
    assert table.attrs == {"by": "parameters", "tolerance": 0.01, "removable": 5 / 8}
    axes = curve.plot()
    assert axes.get_lines()[0].get_ydata() == pytest.approx(np.maximum(curve.rise, 1e-5))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": "magic"}, "by must be 'parameters', 'directions' or 'precision', but 'magic'"),
        ({"reference": np.zeros(3)}, "reference must have the leaves of params"),
        ({"tolerance": -1.0}, "tolerance must be a finite number ≥ 0"),
    ],
)
def test_what_does_not_fit_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        compression_curve(MODEL, POINT, DUMMY, **(OPTIONS | options))


def test_chains_that_diverge_give_no_order():
    broken = constant(lambda w: jnp.where(jnp.sum((w - POINT) ** 2) > 0, jnp.nan, 0.0))
    with pytest.raises(InputError, match="stiffness has no variances because its chains diverged"):
        compression_curve(broken, POINT, DUMMY, kernel=baoab(), num_draws=128, num_warmup=64, **OPTIONS)


def test_a_stiffness_of_other_parameters_is_refused(curve):
    assert curve.removable > 0
    other = probe(constant(lambda w: jnp.sum(w**2)), POINT[:3], POINT[:3], DUMMY, num_draws=128, **OPTIONS)
    assert isinstance(other.stiffness_after, Stiffness)
    with pytest.raises(InputError, match="stiffness is that of 3 parameters, but 8 of params move"):
        compression_curve(MODEL, POINT, DUMMY, stiffness=other.stiffness_after)
    with pytest.raises(InputError, match=r"stiffness must be that of a checkpoint, but a Probe.*_after"):
        compression_curve(MODEL, POINT, DUMMY, stiffness=other)  # pyright: ignore[reportArgumentType]
