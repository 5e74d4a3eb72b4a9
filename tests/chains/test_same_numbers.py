"""The numbers are those of key and step alone: not of how a run is cut up, stopped or watched.

Everything here is equal bit for bit. By `chain_batch` and on several devices sums are taken in another order,
and only rounding may differ: test_scaling.py and test_sharding.py, beside this file. Data read from the host:
tests/estimates/test_llc.py. The cache of compiled programs, and who does a sweep's work:
tests/sweeps/test_engines.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.chains import loop, steps
from lltc.chains.loop import sample, start
from lltc.chains.rungs import Ladder
from lltc.chains.steps import Draws
from lltc.chains.tuning import Tuned, make_settings
from lltc.estimates import drawing, estimator
from lltc.estimates.estimator import prepare_run
from lltc.kernels import baoab
from lltc.posterior.target import local_posterior
from tests.problems import regression

COUNT = 300
MODEL, WEIGHTS, (X, Y) = regression(0, 2000, 3)


@pytest.fixture(scope="module", params=["in memory", "on the host"])
def data(request, tmp_path_factory):
    """Return the data as an array, gathered inside the compiled loop, or as a memory map, read by blocks."""
    rows = np.column_stack([X, Y])
    if request.param == "in memory":
        return rows
    mapped = np.memmap(tmp_path_factory.mktemp("data") / "rows", np.float32, "w+", shape=rows.shape)
    mapped[:] = rows
    return mapped


@pytest.fixture(scope="module")
def run(data):
    """Return what all runs of `draw` on these data share, their compiled program included."""
    return prepare(data)


@pytest.fixture(scope="module")
def whole(run):
    """Return 300 draws made at once."""
    return draw(run)


def prepare(data):
    """Return four chains' run and settings; the model is a new one, and its program compiled when it runs."""
    model = lambda w, rows: MODEL(w, (rows[:, :3], rows[:, 3]))
    posterior = local_posterior(model, WEIGHTS, data, localization=1.0, batch_size=64)
    run = prepare_run(posterior, 0, {"norm": lambda w: jnp.sum(w**2)}, kernel=baoab())
    ladder = Ladder(np.array([posterior.nbeta]), 4)
    tuned = Tuned(np.array([1e-4]), np.array([0.5]))
    return run, make_settings(run, ladder, ladder.spread(ladder.rungs), tuned)


def begin(run, settings):
    return start(run, jnp.zeros((4, run.posterior.num_params)), settings)


def draw(prepared, count=COUNT, **options):
    """Draw from the beginning."""
    run, settings = prepared
    return sample(run, begin(run, settings), settings, first=1, count=count, **options)


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("counts", [(100, 200), (1, 256, 43)])
def test_a_run_in_parts_is_the_run_in_one(run, whole, counts):
    """A step's batch and noise come from its number: draws and last state of parts are those of the whole."""
    state, done, parts = begin(*run), 0, []
    for count in counts:
        parts.append(sample(run[0], state, run[1], first=1 + done, count=count))
        state, done = parts[-1].state, done + count
    columns = zip(*(part.draws for part in parts), strict=True)
    assert_equal(Draws(*(np.concatenate(column, 1) for column in columns)), whole.draws)
    assert_equal(state, whole.state)


@pytest.mark.parametrize(("chunk", "every"), [(64, 16), (256, 8)])
def test_the_size_of_a_chunk_is_a_matter_of_speed(data, whole, monkeypatch, chunk, every):
    """Buffers of another length change nothing; observables seen twice as often agree where both are."""
    for module in (loop, steps):
        monkeypatch.setattr(module, "CHUNK", chunk)
        monkeypatch.setattr(module, "OBSERVE_EVERY", every)
    other = draw(prepare(data))
    assert_equal(other.draws, whole.draws)
    assert_equal(other.state, whole.state)
    norms = other.observables["norm"][:, :: 16 // every]
    np.testing.assert_array_equal(norms, whole.observables["norm"])
    # All chains begin at one point; from then on each goes its own way.
    assert len(np.unique(norms[:, 1:])) == 4 * (COUNT // 16)


def test_watching_changes_nothing(run, whole):
    """`observe` sees the chains every 16 steps, and shortens the chunks to that: the draws stay."""
    seen = []
    watched = draw(run, observe=lambda positions: seen.append(np.asarray(positions)))
    assert len(seen) == -(-COUNT // 16)
    assert_equal(watched.draws, whole.draws)
    np.testing.assert_array_equal(seen[-1], whole.state.position)


def test_an_interrupted_run_is_the_beginning_of_the_whole(run, whole):
    """Ctrl-C after the first chunk of a longer run leaves that chunk, and its draws are the whole run's."""

    def stop(steps):
        raise KeyboardInterrupt(steps)

    stopped = draw(run, 2 * COUNT, on_chunk=stop)
    assert not stopped.complete
    assert stopped.draws.distance.shape == (4, steps.CHUNK)
    assert_equal(stopped.draws, Draws(*(values[:, : steps.CHUNK] for values in whole.draws)))


def estimate(**options):
    settings = {"batch_size": 64, "num_warmup": 64, "num_chains": 4, "progress": False}
    return lltc.estimate_llc(MODEL, WEIGHTS, (X, Y), **(settings | options))


@pytest.fixture(scope="module")
def long():
    return estimate(num_draws=2 * COUNT)


def assert_begins(found, expected):
    """Compare what was recorded; `draws` are less noisy by coefficients fitted to all of a run."""
    assert found.step_size == expected.step_size
    for name in ("energy", "distance", "virial"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name)[:, : found.num_draws])


def test_a_shorter_run_is_the_beginning_of_a_longer_one(long):
    """The warm-up does not ask how many draws follow, nor a draw how many are left."""
    short = estimate(num_draws=COUNT)
    assert (short.num_draws, long.num_draws) == (COUNT, 2 * COUNT)
    assert short.llc != long.llc
    assert_begins(short, long)


def test_drawing_on_until_the_error_is_small_is_one_long_run(long, monkeypatch):
    """A run extended twice, 150 → 300 → 600, has the draws and the estimate of 600 asked for at once."""
    monkeypatch.setattr(estimator, "FIRST_DRAWS", COUNT // 2)
    monkeypatch.setattr(drawing, "MOST_DRAWS", 2 * COUNT)
    extended = estimate(target_rel_se=1e-9)
    assert extended.num_draws == 2 * COUNT
    assert_begins(extended, long)
