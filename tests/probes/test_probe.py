"""Probes of transitions whose answer is known: stiffened directions, their places, each block's part."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.probes import probe
from tests.problems import balanced, regression

EXACT = (6.22, 7.85, 9.29, 10.48)
POINTS = [balanced(rank)[0] for rank in range(4)]
INPUTS = balanced(0)[1][0]
OPTIONS: dict[str, Any] = {"nbeta": 1000.0, "localization": 1.0, "progress": False}


def outputs(params, x):
    return x @ params["first"] @ params["second"]


NETWORK = lltc.behavioral(outputs, "squared")


@pytest.fixture(scope="module", params=range(3))
def rise(request) -> Any:
    rank = request.param
    return rank, probe(NETWORK, POINTS[rank], POINTS[rank + 1], INPUTS, key=rank, **OPTIONS)


def test_a_bottleneck_network_stiffens_nine_seven_and_five_directions(rise):
    """The Hessian of [5,3,5] at rank r has rank r(5 + 5) - r²."""
    rank, found = rise
    ranks = [r * 10 - r**2 for r in (rank, rank + 1)]
    assert [found.stiffness_before.num_stiff, found.stiffness_after.num_stiff] == ranks
    assert (found.num_stiffened, found.num_softened) == ((9, 7, 5)[rank], 0)
    assert not found.change.lower_bound


def test_what_turned_is_counted_in_the_participation_alone(rise):
    """2r stiff directions turn by 45°, each giving the changes ±sin 45°."""
    rank, found = rise
    changes = np.array([1.0] * (9 - 2 * rank) + [np.sqrt(0.5), -np.sqrt(0.5)] * 2 * rank)
    assert found.participation == pytest.approx(
        changes.sum() ** 2 / 9 if not rank else _ratio(changes), rel=0.05
    )
    assert found.change.param_weight.sum() == pytest.approx(np.abs(changes).sum(), rel=0.05)


def _ratio(changes):
    return np.abs(changes).sum() ** 2 / np.sum(changes**2)


def test_the_rise_is_shared_by_both_layers(rise):
    rank, found = rise
    exact = EXACT[rank + 1] - EXACT[rank]
    assert abs(found.delta_llc - exact) < 3.5 * found.delta_llc_se < exact
    for part in found.by_component.values():
        assert abs(part.delta_llc - exact / 2) < 3.5 * part.delta_llc_se < exact
        assert part.stiffened == pytest.approx(found.num_stiffened / 2, abs=1e-3)
        assert part.moved == pytest.approx(1.0)
    parts = sum(part.delta_llc for part in found.by_component.values())
    assert abs(parts - found.delta_llc) < found.delta_llc_se
    assert found.moved_inside == pytest.approx(np.sqrt(2), rel=1e-5)
    assert found.moved_outside < 1e-3


def test_the_way_back_softens_them():
    found = probe(NETWORK, POINTS[2], POINTS[1], INPUTS, **OPTIONS)
    assert (found.num_stiffened, found.num_softened) == (0, 7)
    assert found.by_component["first"].softened == pytest.approx(3.5, abs=1e-3)


def test_a_transition_of_one_block_shows_in_that_block_alone():
    """Block b keeps its rank but slides along its valley, which turns nothing in block a."""
    slid = {"first": POINTS[1]["first"] * 1.2, "second": POINTS[1]["second"] / 1.2}
    before, after = {"a": POINTS[0], "b": POINTS[1]}, {"a": POINTS[1], "b": slid}
    both = lambda params, x: jnp.concatenate([outputs(params["a"], x), outputs(params["b"], x)], -1)
    found: Any = probe(
        lltc.behavioral(both, "squared"),
        before,
        after,
        INPUTS,
        components={"block a": "a/*", "block b": "b/*"},
        **OPTIONS,
    )
    a, b = found.by_component.values()
    assert (found.num_stiffened, found.num_softened) == (9, 0)
    assert a.stiffened == pytest.approx(9, abs=1e-4)
    assert b.stiffened < 1e-4
    rise = EXACT[1] - EXACT[0]
    assert abs(a.delta_llc - rise) < 3.5 * a.delta_llc_se < rise
    assert abs(b.delta_llc) < 3.5 * b.delta_llc_se < rise
    weight = found.change.param_weight
    assert weight[:30].sum() == pytest.approx(9, rel=0.05)
    assert weight[30:].sum() < 0.35 * weight[:30].sum()
    assert found.moved_inside == pytest.approx(np.sqrt(2), rel=1e-4)
    assert found.moved_outside == pytest.approx(np.hypot(0.2, 1 - 1 / 1.2), rel=1e-4)


def test_nothing_changes_between_a_checkpoint_and_itself():
    found = probe(NETWORK, POINTS[2], POINTS[2], INPUTS, **OPTIONS)
    assert (found.num_stiffened, found.num_softened, found.participation) == (0, 0, 0.0)
    assert (found.delta_llc, found.moved_inside, found.moved_outside) == (0.0, 0.0, 0.0)
    assert found.examples is not None
    assert found.examples.num_changed == 0
    assert repr(found.stiffness_after) == "Stiffness(16 stiff of 30 directions, nβ 1000, γ 1)"


def test_minibatches_leave_a_regular_model_its_directions():
    """Off the minimum all eight directions stay stiff, and the parts add up to the change."""
    model, weights, data = regression(0, 20_000, 8)
    settings: dict[str, Any] = {"components": {"a": "[:3]", "b": "[3:]"}, "progress": False}
    found = probe(model, weights, weights + np.float32(0.02), data, **settings)
    assert (found.stiffness_before.num_stiff, found.stiffness_after.num_stiff) == (8, 8)
    assert (found.num_stiffened, found.num_softened, found.moved_inside) == (0, 0, 0)
    assert found.moved_outside == pytest.approx(0.02 * np.sqrt(8), rel=1e-4)
    nbeta = 20_000 / np.log(20_000)
    step = np.full(8, 0.02)
    fall = -0.5 * nbeta * (data[0].T @ (data[0] @ step) / len(data[0])) * step
    assert abs(found.delta_llc - fall.sum()) < 3.5 * found.delta_llc_se + 0.02
    for part, exact in zip(found.by_component.values(), (fall[:3].sum(), fall[3:].sum()), strict=True):
        assert abs(part.delta_llc - exact) < 3.5 * part.delta_llc_se < 1
