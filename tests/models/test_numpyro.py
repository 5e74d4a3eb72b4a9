"""NumPyro programs: known log likelihoods, unconstrained params, plates of every kind."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax.test_util import check_grads
from numpyro.infer.util import log_density, log_likelihood, unconstrain_fn
from scipy import stats

from lltc.errors import InputError
from lltc.models import numpyro_model, unconstrained

X = jax.random.normal(jax.random.key(0), (6, 2))
Y = X @ jnp.array([1.0, -2.0]) + 0.5
CLASSES = jnp.array([0, 1, 1, 0, 1, 0])
POINT = {"weights": jnp.array([0.8, -1.5]), "sigma": jnp.array(0.7)}


def regression(x, y):
    weights = numpyro.sample("weights", dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
    with numpyro.plate("data", x.shape[0]):
        numpyro.sample("y", dist.Normal(x @ weights, sigma), obs=y)


def classification(x, y):
    weights = numpyro.sample("weights", dist.Normal(0.0, 3.0).expand([2]).to_event(1))
    with numpyro.plate("data", x.shape[0]):
        numpyro.sample("y", dist.Bernoulli(logits=x @ weights), obs=y)


def expected_regression(point=POINT):
    return -stats.norm.logpdf(np.asarray(Y), np.asarray(X @ point["weights"]), float(point["sigma"]))


def test_linear_regression_has_its_known_likelihood():
    params = unconstrained(regression, POINT, (X, Y))
    np.testing.assert_allclose(params["sigma"], np.log(0.7), rtol=1e-6)
    np.testing.assert_allclose(numpyro_model(regression)(params, (X, Y)), expected_regression(), rtol=1e-5)


def test_logistic_regression_has_its_known_likelihood():
    weights = jnp.array([0.8, -1.5])
    probability = 1 / (1 + np.exp(-np.asarray(X @ weights, np.float64)))
    expected = -np.log(np.where(CLASSES == 1, probability, 1 - probability))
    losses = numpyro_model(classification)({"weights": weights}, {"x": X, "y": CLASSES})
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_it_agrees_with_numpyro():
    params = unconstrained(regression, POINT, (X, Y))
    theirs = unconstrain_fn(regression, (X, Y), {}, POINT)
    for name, value in theirs.items():
        np.testing.assert_allclose(params[name], value, rtol=1e-6)
    batched = jax.tree.map(lambda p: p[None], POINT)
    np.testing.assert_allclose(
        numpyro_model(regression)(params, (X, Y)),
        -log_likelihood(regression, batched, X, Y)["y"][0],
        rtol=1e-5,
    )


def test_the_prior_is_left_out():
    losses = numpyro_model(regression)(unconstrained(regression, POINT, (X, Y)), (X, Y))
    joint, _ = log_density(regression, (X, Y), {}, POINT)
    prior = dist.Normal(0.0, 3.0).log_prob(POINT["weights"]).sum() + dist.HalfNormal(1.0).log_prob(0.7)
    np.testing.assert_allclose(-losses.sum(), joint - prior, rtol=1e-5)


def test_gradient_jit_and_stacked_params():
    start = unconstrained(regression, POINT, (X, Y))
    model = numpyro_model(regression, params=start)
    assert model.params is start
    check_grads(lambda p: model(p, (X, Y)).mean(), (start,), order=1, modes=["rev"], rtol=0.02, atol=0.01)
    other = {"weights": jnp.zeros(2), "sigma": jnp.array(0.0)}
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), start, other)
    both = jax.jit(jax.vmap(model, (0, None)))(stacked, (X, Y))
    np.testing.assert_allclose(both[0], expected_regression(), rtol=1e-5)
    np.testing.assert_allclose(both[1], -stats.norm.logpdf(np.asarray(Y)), rtol=1e-5)


def test_args_may_be_positions_or_keywords():
    params = unconstrained(regression, POINT, (X, Y))
    batch = {"features": X, "answers": Y}
    by_position = numpyro_model(regression, args=lambda b: (b["features"], b["answers"]))
    by_name = numpyro_model(regression, args=lambda b: {"y": b["answers"], "x": b["features"]})
    for model in (by_position, by_name):
        np.testing.assert_allclose(model(params, batch), expected_regression(), rtol=1e-5)
    with pytest.raises(InputError, match=r"args\(batch\) must give a tuple or a dict; it gave"):
        numpyro_model(regression, args=lambda b: b["features"])(params, batch)


def location(y, **plate):
    mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
    with numpyro.plate("data", **plate):
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def test_a_subsampling_plate_is_neither_scaled_nor_random():
    model = numpyro_model(lambda y: location(y, size=1000, subsample_size=y.shape[0]))
    expected = -stats.norm.logpdf(np.asarray(Y), 0.3)
    for _ in range(2):
        np.testing.assert_allclose(model({"mean": 0.3}, Y), expected, rtol=1e-5)


def test_subsampled_data_keep_their_order():
    def program(y):
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        with numpyro.plate("data", y.shape[0], subsample_size=y.shape[0]):
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=numpyro.subsample(y, 0))

    expected = -stats.norm.logpdf(np.asarray(Y), 0.3)
    np.testing.assert_allclose(numpyro_model(program)({"mean": 0.3}, Y), expected, rtol=1e-5)


def test_a_plate_that_leaves_data_out_is_refused():
    def program(y):
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        with numpyro.plate("data", y.shape[0], subsample_size=2):
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=numpyro.subsample(y, 0))

    with pytest.raises(InputError, match=r"shape \(2,\), not one for each of the batch's 6"):
        numpyro_model(program)({"mean": 0.3}, Y)


def test_a_scale_of_the_users_stays():
    def program(y):
        with numpyro.handlers.scale(scale=0.5):
            location(y, size=1000, subsample_size=y.shape[0])

    expected = -0.5 * stats.norm.logpdf(np.asarray(Y), 0.3)
    np.testing.assert_allclose(numpyro_model(program)({"mean": 0.3}, Y), expected, rtol=1e-5)


def test_outputs_are_summed_whichever_way_the_plates_nest():
    two = jnp.stack([Y, Y + 1.0])
    expected = -stats.norm.logpdf(np.asarray(two), 0.3).sum(0)

    def outputs_first(y):
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        with numpyro.plate("outputs", 2, dim=-2), numpyro.plate("data", y.shape[0], dim=-1):
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=y.T)

    def data_first(y):
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        with numpyro.plate("data", y.shape[0], dim=-2), numpyro.plate("outputs", 2, dim=-1):
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    def no_plate(y):
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        numpyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    for program in (outputs_first, data_first, no_plate):
        np.testing.assert_allclose(numpyro_model(program)({"mean": 0.3}, two.T), expected, rtol=1e-5)


def test_plates_of_one_size_need_a_name():
    square = jnp.arange(4.0).reshape(2, 2)

    def program(y):
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        with numpyro.plate("outputs", 2, dim=-2), numpyro.plate("data", y.shape[0], dim=-1):
            numpyro.sample("y", dist.Normal(mean, 1.0), obs=y.T)

    expected = -stats.norm.logpdf(np.asarray(square), 0.3).sum(1)
    losses = numpyro_model(program, plate="data")({"mean": 0.3}, square)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    with pytest.raises(InputError, match=r"plates \[.*\] all have the batch's size 2.*plate="):
        numpyro_model(program)({"mean": 0.3}, square)


def test_observed_sites_add_up_factors_and_masks_included():
    def program(y):
        mean = numpyro.sample("mean", dist.Normal(0.0, 3.0))
        with numpyro.plate("data", y.shape[0]):
            numpyro.sample("one", dist.Normal(mean, 1.0), obs=y)
            numpyro.sample("two", dist.Normal(mean, 1.0).mask(y > 0), obs=y)
            numpyro.factor("three", 2.0 * y)

    density = stats.norm.logpdf(np.asarray(Y), 0.3)
    expected = -(density + np.where(Y > 0, density, 0.0) + 2.0 * np.asarray(Y))
    np.testing.assert_allclose(numpyro_model(program)({"mean": 0.3}, Y), expected, rtol=1e-5, atol=1e-6)


def test_params_of_a_simplex_and_of_a_param_site():
    def program(y):
        weights = numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))
        rate = numpyro.param("rate", 1.0, constraint=dist.constraints.positive)
        with numpyro.plate("data", y.shape[0]):
            numpyro.sample("y", dist.CategoricalProbs(weights), obs=y)
            numpyro.sample("wait", dist.Exponential(rate), obs=1.0 + y)

    classes = jnp.array([0, 2, 1])
    point = {"weights": jnp.array([0.5, 0.3, 0.2]), "rate": 2.0}
    params = unconstrained(program, point, classes)
    assert params["weights"].shape == (2,)
    expected = -np.log([0.5, 0.2, 0.3]) - np.log(2.0) + 2.0 * (1.0 + np.asarray(classes))
    np.testing.assert_allclose(numpyro_model(program)(params, classes), expected, rtol=1e-5)


def local(y):
    with numpyro.plate("data", y.shape[0]):
        numpyro.sample("y", dist.Normal(numpyro.sample("z", dist.Normal()), 1.0), obs=y)


def discrete(y):
    coin = numpyro.sample("coin", dist.Bernoulli(0.5))
    numpyro.sample("y", dist.Normal(coin, 1.0).expand([y.shape[0]]), obs=y)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: numpyro_model(regression)({"weights": jnp.ones(2), "a": 1.0}, (X, Y)),
            r"missing \['sigma'\], unknown \['a'\]",
        ),
        (lambda: numpyro_model(local)({"z": jnp.ones(3)}, Y), r"shape \(3,\), its site \(6,\)"),
        (lambda: numpyro_model(discrete)({"coin": 1.0}, Y), "'coin' is discrete"),
        (
            lambda: numpyro_model(lambda _: location(None, size=6))({"mean": 0.0, "y": Y}, Y),
            "no observed site",
        ),
        (lambda: numpyro_model(lambda y: numpyro.factor("all", y.sum()))({}, Y), r"'all' has .* shape \(\)"),
        (
            lambda: unconstrained(regression, {**POINT, "sigma": -1.0}, (X, Y)),
            r"params\['sigma'\] lies outside",
        ),
    ],
)
def test_misuse_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_numpyro_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpyro", None)
    with pytest.raises(InputError, match=r"needs the library numpyro.*pip install 'numpyro'"):
        numpyro_model(regression)
