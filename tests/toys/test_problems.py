"""Every problem's model, point, data and value belong together."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc import toys
from lltc.errors import InputError


def mean_loss(problem, params):
    return jnp.mean(problem.model(params, problem.data))


@pytest.fixture(scope="module")
def problems():
    return toys.table()


def test_every_problem_of_the_table_obeys_the_model_contract(problems):
    for problem in problems:
        losses = jax.eval_shape(problem.model, problem.params, problem.data)
        assert losses.shape == (problem.num_examples,), problem.name
        assert jnp.issubdtype(losses.dtype, jnp.floating), problem.name
        assert problem.llc is None or 0 < problem.llc <= problem.num_params / 2, problem.name


def test_a_loss_depends_on_its_own_example_only(problems):
    for problem in problems[::6]:
        whole = problem.model(problem.params, problem.data)
        half = problem.model(problem.params, jax.tree.map(lambda leaf: leaf[::2], problem.data))
        np.testing.assert_allclose(half, whole[::2], rtol=1e-3, atol=1e-5, err_msg=problem.name)


def test_the_table_spans_its_promised_range(problems):
    assert len({problem.name for problem in problems}) == len(problems) >= 100
    sizes = [problem.num_params for problem in problems]
    assert (min(sizes), max(sizes)) == (1, 100_000)
    assert sum(size == 100_000 for size in sizes) >= 3
    assert sum(problem.num_examples == 1_000_000 for problem in problems) >= 5
    assert sum(not problem.linear for problem in problems) >= 4
    assert all(problem.reference is not None for problem in problems)


def test_formulas_give_their_losses():
    w = {"w": jnp.array([0.5, -2.0])}
    assert float(mean_loss(toys.quadratic([2.0, 3.0]), w)) == pytest.approx(0.25 + 6.0)
    assert float(mean_loss(toys.even_powers([2, 1]), w)) == pytest.approx(0.0625 + 4.0)
    assert float(mean_loss(toys.normal_crossing([2, 1]), w)) == pytest.approx(0.25)


def test_finite_values_of_formulas_come_from_closed_forms():
    setting: dict[str, Any] = {"nbeta": 50.0, "localization": 2.0}
    assert toys.even_powers([2, 2], **setting).llc_finite == pytest.approx(
        2 * toys.quartic_llc(**setting), abs=1e-8
    )
    assert toys.even_powers([1], **setting).llc_finite == pytest.approx(
        toys.quadratic_llc([2.0], **setting), abs=1e-8
    )
    assert toys.normal_crossing([1, 1], **setting).llc_finite == pytest.approx(
        toys.squared_product_llc(**setting), abs=1e-8
    )


def test_population_data_give_exactly_the_frobenius_loss():
    problem = toys.deep_linear((4, 2, 3), rank=2, singular_values=[3.0, 0.5])
    target = problem.params["layer1"]["kernel"] @ problem.params["layer2"]["kernel"]
    moved = jax.tree.map(lambda k: k + 0.3, problem.params)
    other = moved["layer1"]["kernel"] @ moved["layer2"]["kernel"]
    assert float(mean_loss(problem, moved)) == pytest.approx(
        float(0.5 * jnp.sum((other - target) ** 2)), rel=1e-5
    )
    assert float(mean_loss(problem, problem.params)) < 1e-10
    np.testing.assert_allclose(np.linalg.svd(target)[1], [3.0, 0.5, 0.0], atol=1e-5)


@pytest.mark.parametrize(
    "build",
    [
        lambda at: toys.linear_regression(6, num_examples=2000, condition_number=100, at=at),
        lambda at: toys.reduced_rank_regression(4, 2, 3, 1, num_examples=2000, condition_number=10, at=at),
        lambda at: toys.deep_linear((4, 4, 2, 3), rank=1, num_examples=2000, at=at),
    ],
)
def test_the_sample_minimum_is_one_and_the_truth_is_not(build):
    fitted, true = build("minimum"), build("truth")

    def size(problem):
        gradient = jax.grad(lambda w: mean_loss(problem, w))(problem.params)
        return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))

    assert size(fitted) < 3e-6
    assert size(true) > 1e-3
    assert mean_loss(fitted, fitted.params) < mean_loss(true, true.params)


def test_linear_regression_value_matches_one_layer_gibbs_on_the_same_sample():
    for at in ("minimum", "truth"):
        problem = toys.linear_regression(4, num_examples=800, condition_number=50, at=at)
        x, y = np.asarray(problem.data["x"], float), np.asarray(problem.data["y"], float)[:, None]
        exact = toys.gibbs_llc(
            [np.asarray(problem.params["w"])[:, None]],
            input_moment=x.T @ x / 800,
            cross_moment=x.T @ y / 800,
            nbeta=problem.nbeta,
            localization=1.0,
            num_sweeps=2,
        )
        assert problem.llc_finite == pytest.approx(exact.llc, rel=1e-6)


def test_two_layer_sample_value_is_the_gibbs_value_of_its_own_moments():
    """A full-rank, well-separated net at large nbeta is regular up to its gauge: λ̂ → NM/2."""
    problem = toys.reduced_rank_regression(3, 3, 3, 3, num_examples=5000, nbeta=1e5)
    assert problem.llc_finite == pytest.approx(4.5, abs=0.01 + 3.5 * problem.llc_finite_se)


def test_the_reference_is_computed_once_and_only_on_demand():
    calls = []

    def reference():
        calls.append(1)
        return toys.Reference(1.0, 0.1)

    problem = toys.analytic("flat", lambda w: 0 * w[0], center=np.zeros(3), nbeta=1.0, reference=reference)
    assert calls == []
    assert (problem.llc_finite, problem.llc_finite_se, problem.num_params) == (1.0, 0.1, 3)
    assert calls == [1]


def test_bad_input_is_refused_by_name():
    with pytest.raises(InputError, match="at='best'"):
        toys.linear_regression(2, num_examples=100, at="best")  # pyright: ignore
    with pytest.raises(InputError, match="num_examples=2"):
        toys.linear_regression(2, num_examples=2)
    with pytest.raises(InputError, match="singular_values"):
        toys.deep_linear((3, 3), rank=2, singular_values=[1.0])
    with pytest.raises(InputError, match="condition_number"):
        toys.deep_linear((3, 3), rank=2, num_examples=100, condition_number=0.5)
    with pytest.raises(InputError, match="rank at most 2"):
        toys.balanced_kernels(np.eye(3), [3, 2, 3])
