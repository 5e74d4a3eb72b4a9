"""Coordinates for ill-conditioned posteriors: exact maps, curvatures made equal, known values reached."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lltc
from lltc import toys
from lltc.chains import warmup
from lltc.chains.curvature import make_prober
from lltc.chains.gradients import measure_anchor
from lltc.chains.loop import Run, sample, start
from lltc.chains.rotation import PLAIN, Frame, Rotation, turn, turn_back
from lltc.chains.rungs import Ladder
from lltc.chains.steps import Settings
from lltc.chains.warmup import warm_up
from lltc.chains.whitening import find_frame, is_hopeless, leaf_shapes
from lltc.kernels import Tuning, baoab, ghmc
from lltc.posterior.target import local_posterior

NBETA, GAMMA = 1000.0, 1.0
shapes = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4)


def orthogonal(rng, side):
    return jnp.asarray(np.linalg.qr(rng.normal(size=(side, side)))[0], jnp.float32)


def a_rotation(shapes, seed=0):
    """Return a random rotation that leaves some sides as they are."""
    rng = np.random.default_rng(seed)
    side = lambda size: orthogonal(rng, size) if rng.random() < 0.7 else None
    return Rotation(tuple((side(rows), side(columns)) for rows, columns in shapes), tuple(shapes))


@settings(deadline=None, max_examples=15)
@given(shapes, st.integers(0, 100))
def test_turning_back_undoes_turning_and_keeps_lengths(shapes, seed):
    rotation = a_rotation(shapes, seed)
    vectors = np.random.default_rng(seed).normal(size=(3, sum(a * b for a, b in shapes)))
    there = turn(rotation, jnp.asarray(vectors, jnp.float32))
    np.testing.assert_allclose(turn_back(rotation, there), vectors, atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(there, axis=-1), np.linalg.norm(vectors, axis=-1), rtol=1e-5)


def ridge(stiffness, axes=None):
    """Return model, params and data of ½ Σ hᵢ (axes w)ᵢ², w of any shape, and its λ at NBETA and GAMMA."""
    h = np.asarray(stiffness, np.float64)
    axes = np.eye(h.size) if axes is None else axes
    turned, weights = jnp.asarray(axes, jnp.float32), jnp.asarray(h.ravel(), jnp.float32)
    model = lambda w, batch: 0.5 * jnp.sum(weights * (turned @ w.ravel()) ** 2) + 0 * batch
    return model, jnp.zeros(h.shape), jnp.zeros(64), float((NBETA * h / (NBETA * h + GAMMA)).sum() / 2)


def hessian_in(frame, hessian):
    """Return the Hessian in the coordinates of a frame."""
    columns = turn(frame.rotation, frame.scale * jnp.eye(len(hessian)))
    return np.asarray(columns, np.float64) @ hessian @ np.asarray(columns, np.float64).T


@pytest.mark.statistical
def test_a_rotated_scaled_kernel_draws_from_the_same_density():
    stiffness = np.geomspace(0.01, 1.0, 6).reshape(2, 3)
    model, params, data, _ = ridge(stiffness)
    posterior = local_posterior(model, params, data, nbeta=NBETA, localization=GAMMA)
    run = Run(posterior, measure_anchor(posterior), baoab(), jax.random.key(0))
    scale = jnp.geomspace(0.5, 2.0, 6)
    tuning = Tuning(jnp.full((200, 1), 1e-3), jnp.full((200, 1), 0.5), scale)
    # A scale of coordinates that are turned couples them; the density must not notice.
    settings = Settings(jnp.full(200, NBETA), jnp.float32(GAMMA), tuning, a_rotation([(2, 3)], 4))
    begin = jax.random.normal(jax.random.key(1), (200, 6)) / np.sqrt(NBETA * stiffness.ravel() + GAMMA)
    ends = []
    state = start(run, begin, settings)
    sample(run, state, settings, first=1, count=512, observe=lambda at: ends.append(np.array(at)))
    squares = (np.stack(ends[8:]) ** 2).mean(0) * (NBETA * stiffness.ravel() + GAMMA)
    error = squares.std(0, ddof=1) / np.sqrt(len(squares))
    np.testing.assert_array_less(np.abs(squares.mean(0) - 1), 4 * error + 0.02)


def test_gradients_of_a_gaussian_make_its_curvatures_equal():
    """A Kronecker product of curvatures over six decades, in turned axes, is nearly round in its frame."""
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(12, 12)))[0] for _ in range(2))
    stiffness = np.outer(np.geomspace(1e-2, 10, 12), np.geomspace(1e-2, 10, 12))
    axes = np.kron(left, right).T
    model, params, data, _ = ridge(stiffness, axes)
    posterior = local_posterior(model, params, data, nbeta=NBETA, localization=1e-3)
    assert leaf_shapes(posterior) == ((12, 12),)
    run = Run(posterior, measure_anchor(posterior), baoab(), jax.random.key(0))
    precision = NBETA * stiffness.ravel() + 1e-3
    draws = [(rng.normal(size=(8, 144)) / np.sqrt(precision)) @ axes for _ in range(16)]
    frame = find_frame(make_prober(posterior, run.anchor, run.key), draws)
    hessian = axes.T @ np.diag(precision) @ axes
    felt = jax.vmap(lambda v: turn(frame.rotation, frame.scale * v))(jnp.eye(144)) @ hessian
    felt = np.linalg.eigvalsh(
        felt @ jax.vmap(lambda v: turn(frame.rotation, frame.scale * v))(jnp.eye(144)).T
    )
    assert precision.max() / precision.min() > 1e5
    assert felt.max() / felt.min() < 30


def test_the_hessian_of_few_parameters_is_taken_whole():
    rng = np.random.default_rng(1)
    axes, stiffness = np.linalg.qr(rng.normal(size=(20, 20)))[0], np.geomspace(1e-4, 1e3, 20)
    model, params, data, _ = ridge(stiffness, axes)
    posterior = local_posterior(model, params, data, nbeta=NBETA, localization=GAMMA)
    prober = make_prober(posterior, measure_anchor(posterior), jax.random.key(0))
    frame = find_frame(prober, [rng.normal(size=(8, 20))])
    felt = hessian_in(frame, axes.T @ np.diag(NBETA * stiffness + GAMMA) @ axes)
    # float32 sees the flattest of seven decades beside the stiffest with a digit or two.
    assert np.linalg.eigvalsh(felt).max() < 3 * np.trace(felt) / 20


@pytest.mark.parametrize("side", [4, 12])
def test_a_curvature_that_is_not_finite_makes_no_frame(side):
    """Neither the Hessian of 16 parameters nor the gradients of 144."""
    quartic = lambda w, batch: jnp.sum(w**4) + 0 * batch
    posterior = local_posterior(
        quartic, jnp.zeros((side, side)), jnp.zeros(64), nbeta=NBETA, localization=GAMMA
    )
    prober = make_prober(posterior, measure_anchor(posterior), jax.random.key(0))
    positions = np.random.default_rng(0).normal(size=(8, side**2)).astype(np.float32)
    assert find_frame(prober, [positions]).rotation is not None
    positions[3, 5] = np.nan
    assert find_frame(prober, [positions]) is PLAIN


@pytest.mark.parametrize("chains", [2, 3])
def test_axes_are_those_of_half_of_the_chains_and_scales_of_the_others(chains):
    posterior = local_posterior(
        lambda w, batch: jnp.sum(w**4) + 0 * batch, jnp.zeros((12, 12)), jnp.zeros(64), nbeta=NBETA
    )
    prober = make_prober(posterior, measure_anchor(posterior), jax.random.key(0))
    visited = np.random.default_rng(0).normal(size=(8, chains, 144)).astype(np.float32)
    frame, moved = find_frame(prober, [*visited]), visited.copy()
    moved[:, 1] *= np.linspace(0.1, 10, 144, dtype=np.float32)
    other = find_frame(prober, [*moved])
    jax.tree.map(np.testing.assert_array_equal, other.rotation, frame.rotation)
    assert not np.allclose(other.scale, frame.scale)


@pytest.mark.parametrize("key", range(3))
def test_nothing_is_left_of_a_frame_that_is_given_up(monkeypatch, key):
    """Neither its curvatures nor its step size bound those of the weights: a tenth of what is stable."""
    stiffness = np.geomspace(0.01, 1.0, 6)
    model, params, data, _ = ridge(stiffness)
    posterior = local_posterior(model, params, data, nbeta=NBETA, localization=GAMMA)
    monkeypatch.setattr(warmup, "is_hopeless", lambda *_: True)
    monkeypatch.setattr(warmup, "is_white", lambda *_: False)
    # All curvatures are 10⁴ times as large in it, and steps as much smaller.
    monkeypatch.setattr(warmup, "find_frame", lambda *_: Frame(None, jnp.full(6, 100.0)))
    run = Run(posterior, measure_anchor(posterior), baoab(), jax.random.key(key))
    warm = warm_up(run, Ladder(np.array([NBETA]), 8), num_warmup=400, step_size=None)
    assert warm.settings.rotation is None
    assert float(warm.settings.tuning.step_size[0, 0]) > 0.99 * 0.4 / (NBETA + GAMMA)


def test_a_posterior_as_round_as_most_is_not_hopeless():
    model, params, data, _ = ridge(np.geomspace(0.1, 1, 5))
    posterior = local_posterior(model, params, data, nbeta=NBETA, localization=GAMMA)
    assert not is_hopeless(posterior, 0.01)
    assert is_hopeless(posterior, 1e-5)


@pytest.mark.parametrize(
    "problem",
    [
        lambda: toys.deep_linear((5, 5, 5, 5, 5, 5), rank=0, num_sweeps=50),
        lambda: toys.quadratic_network(3, 2, 1, num_examples=100_000, noise=1.0, at="minimum"),
    ],
    ids=["curvature that changes", "noise along flat directions"],
)
def test_a_frame_in_which_directions_stay_unequal_is_given_up(problem):
    problem = problem()
    settings = {"nbeta": problem.nbeta, "localization": problem.localization, "linear": problem.linear}
    posterior = local_posterior(problem.model, problem.params, problem.data, **settings)
    kernel = ghmc() if posterior.full_batch else baoab()
    for key in range(3):
        run = Run(posterior, measure_anchor(posterior), kernel, jax.random.key(key))
        stage = warm_up(run, Ladder(np.array([posterior.nbeta]), 8), num_warmup=1000, step_size=None)
        assert stage.settings.rotation is None


CASES = {
    "apart": lambda: ridge(np.geomspace(1e-6, 1e6, 13)),
    "turned": lambda: ridge(
        np.geomspace(1e-6, 1e6, 30), np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0]
    ),
    "a matrix": lambda: ridge(np.geomspace(1e-6, 1e6, 600).reshape(20, 30)),
    "none as flat as the prior": lambda: ridge(np.geomspace(1.0, 1e8, 9)),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", CASES)
def test_decades_of_curvature_are_no_matter(name):
    model, params, data, truth = CASES[name]()
    for key in range(3):
        estimate = lltc.estimate_llc(
            model, params, data, nbeta=NBETA, localization=GAMMA, key=key, progress=False
        )
        assert estimate.status is lltc.Status.ok
        assert abs(estimate.llc - truth) < 4 * estimate.llc_se
        assert estimate.llc_se < 0.05 * truth
