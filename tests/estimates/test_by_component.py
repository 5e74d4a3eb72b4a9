"""Refined learning coefficients: each component's exact value, one nβ and γ for all, a labelled record."""

import jax.numpy as jnp
import numpy as np
import pytest

from lltc import InputError, estimate_llc, local_posterior
from lltc.estimates.by_component import estimate_llc_team
from lltc.report.wording import measured
from lltc.toys.values.tempered import quadratic_llc
from tests.problems import DUMMY, balanced, constant, linear_loss, regression

BLOCKS = {"a": np.array([1.0, 3.0]), "b": np.array([0.01, 0.1, 10.0])}
LOSS = constant(lambda p: 0.5 * sum(jnp.sum(h * p[name] ** 2) for name, h in BLOCKS.items()))
ZEROS = {name: jnp.zeros(len(h)) for name, h in BLOCKS.items()}


def test_independent_blocks_have_their_own_values_and_add_up():
    team = estimate_llc_team(
        LOSS, ZEROS, DUMMY, components=["a", "b", "*"], nbeta=100, localization=1.0, progress=False
    )
    parts = [quadratic_llc(h, nbeta=100, localization=1.0) for h in BLOCKS.values()]
    assert np.all(np.abs(team.llc - [*parts, sum(parts)]) < 3.5 * team.llc_se)
    assert np.all(team.llc_se < 0.03 * team.llc)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_one_factor_of_a_linear_network_is_a_quadratic(scale):
    """At x'x = n the Hessian is BB' for each row of the first factor, A'A for each column of the second."""
    params, (x, _) = balanced(2)
    params = {"first": params["first"] / scale, "second": params["second"] * scale}
    data = (x, x @ params["first"] @ params["second"])
    team = estimate_llc_team(
        linear_loss,
        params,
        data,
        components={"A": "first", "a column of B": "second[:,1]"},
        nbeta=20,
        localization=1.0,
        progress=False,
    )
    of_a, of_b = [scale**2, scale**2, 0.0], [scale**-2, scale**-2, 0.0]
    exact = [quadratic_llc(np.tile(h, k), nbeta=20, localization=1.0) for h, k in ((of_a, 5), (of_b, 1))]
    assert np.all(np.abs(team.llc - exact) < 3.5 * team.llc_se)
    assert np.all(team.llc_se < 0.03 * team.llc)
    assert [estimate.num_params for estimate in team.estimates.values()] == [15, 3]


def test_a_member_is_the_estimate_with_its_restriction():
    model, weights, data = regression(0, 3000, 6)
    options = {"nbeta": 300.0, "num_draws": 100, "num_warmup": 100, "progress": False, "key": 3}
    team = estimate_llc_team(model, weights, data, components={"half": "[:3]"}, **options)
    gamma = 6 / (0.5 * np.linalg.norm(weights)) ** 2
    assert team.localization == pytest.approx(gamma, rel=1e-6)
    alone = estimate_llc(model, weights, data, restrict="[:3]", localization=team.localization, **options)
    np.testing.assert_array_equal(team["half"].draws, alone.draws)


def test_the_record_is_labelled():
    team = estimate_llc_team(
        LOSS, ZEROS, DUMMY, components=["a", "b"], nbeta=9.0, localization=2.0, num_draws=50, progress=False
    )
    table = team.to_dataset()
    assert table.sizes == {"component": 2}
    assert table.attrs == {"nbeta": 9.0, "localization": 2.0}
    for name in ("a", "b"):
        row = table.sel(component=name)
        assert float(row.llc) == team[name].llc
        assert int(row.num_params) == len(BLOCKS[name])
        assert str(row.status.values) == team[name].status.name
    assert repr(team).splitlines()[0] == "LLCTeam(nβ 9, γ 2)"
    assert f"  b  {measured(team['b'].llc, team['b'].llc_se)}  of 3 parameters" in repr(team)


def test_a_component_moves_within_what_its_posterior_moves():
    posterior = local_posterior(LOSS, ZEROS, DUMMY, nbeta=9.0, localization=2.0, restrict="a")
    team = estimate_llc_team(posterior, components=["*"], progress=False)
    assert team["*"].num_params == len(BLOCKS["a"])
    with pytest.raises(InputError, match=r"selects only parameters that restrict holds"):
        estimate_llc_team(posterior, components=["a", "b"])


def test_components_are_checked_before_anything_runs():
    for components, said in [
        ({"x": "first"}, r"components\['x'\]='first' selects no floating-point parameter"),
        ([], "components must be"),
    ]:
        with pytest.raises(InputError, match=said):
            estimate_llc_team(LOSS, ZEROS, DUMMY, components=components)
    with pytest.raises(InputError, match="restrict='a' was given, but what moves is named by components"):
        estimate_llc_team(LOSS, ZEROS, DUMMY, components=["a"], restrict="a")
