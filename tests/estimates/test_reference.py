"""NUTS references against values known exactly."""

import jax.numpy as jnp
import numpy as np
import pytest

from lltc.errors import InputError
from lltc.estimates.reference import reference_llc
from lltc.toys import crossing_llc, quadratic_llc, quadrature_llc, reduced_rank_regression
from tests.problems import DUMMY, constant

pytestmark = pytest.mark.reference

NBETA, GAMMA = 300.0, 1.0
CURVATURES = np.array([0.01, 1.0, 3.0], np.float32)
PARTS = {
    "quadratic": lambda params: 0.5 * jnp.sum(CURVATURES * params["quadratic"] ** 2),
    "square": lambda params: params["square"] ** 2,
    "quartic": lambda params: params["quartic"] ** 4,
    "crossing": lambda params: jnp.prod(params["crossing"] ** 2),
}
POINT = {
    "quadratic": jnp.zeros(3),
    "square": jnp.zeros(()),
    "quartic": jnp.zeros(()),
    "crossing": jnp.zeros(2),
}


def sum_of_parts(params, batch):
    # Examples disagree by a large constant, which only a difference example by example survives.
    return sum(part(params) for part in PARTS.values()) + batch


DATA = np.linspace(-100, 100, 8, dtype=np.float32)


SETTINGS = {"nbeta": NBETA, "localization": GAMMA, "num_draws": 1500, "num_warmup": 400}


@pytest.fixture(scope="module")
def estimate():
    return reference_llc(sum_of_parts, POINT, DATA, observables=PARTS, **SETTINGS)


@pytest.fixture(scope="module")
def known():
    return {
        "quadratic": quadratic_llc(CURVATURES, nbeta=NBETA, localization=GAMMA),
        "square": quadratic_llc(np.array([2.0]), nbeta=NBETA, localization=GAMMA),
        "quartic": quadrature_llc(lambda w: w[..., 0] ** 4, nbeta=NBETA, localization=GAMMA, center=(0.0,)),
        "crossing": crossing_llc([1, 1], nbeta=NBETA, localization=GAMMA),
    }


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_its_known_energy(estimate, known, part):
    from lltc.diagnostics.mixing import monte_carlo_error

    series = NBETA * estimate.observables[part].astype(np.float64)
    error = monte_carlo_error(series)
    assert abs(series.mean() - known[part]) < 3.5 * error
    assert error < 0.1 * known[part]


def test_the_whole_is_the_sum_of_its_parts(estimate, known):
    assert abs(estimate.llc - sum(known.values())) < 3.5 * estimate.llc_se
    assert estimate.llc_se < 0.03 * estimate.llc
    parts = sum(estimate.observables.values())
    np.testing.assert_allclose(estimate.draws, NBETA * parts, rtol=1e-3, atol=0.01)


def test_the_record_says_how_the_chains_fared(estimate):
    assert estimate.status.name == "ok"
    assert estimate.kernel == "nuts"
    assert estimate.acceptance > 0.99
    assert estimate.rhat < 1.02
    assert estimate.budget.heat == 0
    assert estimate.draws.shape == estimate.distance.shape == estimate.virial.shape == (4, 1500)
    # In equilibrium E[(w - w*)·∇U] is the number of parameters.
    assert estimate.virial_share == pytest.approx(1.0, abs=0.1)


def test_a_network_of_two_layers_has_its_known_value():
    problem = reduced_rank_regression(3, 2, 3, 1, nbeta=100.0)
    assert problem.llc_finite is not None
    estimate = reference_llc(
        problem.model,
        problem.params,
        problem.data,
        nbeta=problem.nbeta,
        localization=problem.localization,
        num_draws=400,
        num_warmup=200,
    )
    error = np.hypot(estimate.llc_se, problem.llc_finite_se)
    assert abs(estimate.llc - problem.llc_finite) < 3.5 * error
    assert error < 0.06 * problem.llc_finite


class Rows:
    """Rows that stay on the host."""

    def __len__(self):
        return len(DATA)

    def __getitem__(self, indices):
        return DATA[indices]


def test_the_same_key_gives_the_same_numbers_from_arrays_or_rows(estimate):
    again = reference_llc(sum_of_parts, POINT, Rows(), **SETTINGS)
    np.testing.assert_array_equal(again.draws, estimate.draws)
    assert np.ptp(again.draws) > 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"num_chains": 1}, "num_chains"), ({"num_draws": 3}, "num_draws"), ({"nbeta": -1.0}, "nbeta")],
)
def test_bad_arguments_are_named(settings, named):
    with pytest.raises(InputError, match=f"^{named} must"):
        reference_llc(sum_of_parts, POINT, DATA, **settings)


def test_a_checkpoint_of_infinite_loss_is_refused():
    with pytest.raises(InputError, match="model has a loss that is not finite at params on 8 of the 8"):
        reference_llc(lambda w, x: jnp.log(w) + x, jnp.zeros(()), DATA)


def test_without_its_slope_a_loss_off_its_minimum_has_the_minimums_coefficient():
    curvatures, shift = np.array([0.1, 1.0, 3.0]), np.array([1.0, -0.5, 0.2])
    loss = constant(lambda w: 0.5 * jnp.sum(curvatures * (w - shift) ** 2))
    settings = {"nbeta": 100, "localization": 1.0, "num_draws": 1000, "num_warmup": 300}
    exact = quadratic_llc(curvatures, nbeta=100, localization=1.0)
    straight = reference_llc(loss, jnp.zeros(3), DUMMY, linear=False, **settings)
    downhill = reference_llc(loss, jnp.zeros(3), DUMMY, **settings)
    assert abs(straight.llc - exact) < 3.5 * straight.llc_se
    assert downhill.llc < -10
