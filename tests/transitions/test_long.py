"""Curves of thousands of checkpoints: near the exact sum, in seconds, in little memory."""

import tracemalloc

import numpy as np
import pytest

from lltc.transitions import cells, find_transitions, segment_curve

JUMPS = np.array([0.1, 0.33, 0.5, 0.7, 0.9])


def stairs(seed, n, *, height=8.0):
    steps = np.arange(n)
    level = height * np.sum(steps[:, None] > n * JUMPS, 1)
    return steps, level + np.random.default_rng(seed).normal(size=n), np.ones(n)


def markers(curve):
    return [(found.kind, found.step_low, found.step_high) for found in find_transitions(*curve)]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cells_find_what_the_exact_sum_finds(seed, monkeypatch):
    curve = stairs(seed, 1000)
    exact, marked = segment_curve(*curve), markers(curve)
    monkeypatch.setattr(cells, "MOST_CELLS", 300)
    monkeypatch.setattr(cells, "COARSE", 100)
    coarse = segment_curve(*curve)
    assert (len(exact.cells), len(coarse.cells) < 300) == (1000, True)
    assert markers(curve) == marked
    np.testing.assert_allclose(coarse.fitted, exact.fitted, atol=0.1)
    at = np.searchsorted(curve[0], np.floor(JUMPS * 1000))
    np.testing.assert_allclose(coarse.on_plateau(at, at + 1), exact.on_plateau(at, at + 1), atol=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_jumps_of_ten_thousand_checkpoints_are_marked_where_they_are(seed):
    marked = markers(stairs(seed, 10_000))
    places = [1000, 3300, 5000, 7000, 9000]
    assert [kind for kind, _, _ in marked] == ["rise"] * 5
    assert all(low <= place <= high <= low + 3 for (_, low, high), place in zip(marked, places, strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_thousand_checkpoints_of_noise_make_no_marker(seed):
    assert find_transitions(*stairs(seed, 10_000, height=0.0)) == ()


def test_ten_thousand_checkpoints_take_little_memory():
    """A smooth rise is the costliest curve: no stretch of it is a plateau."""
    x = np.arange(10_000)
    y = 20 / (1 + np.exp(-(x - 5000) / 800)) + np.random.default_rng(0).normal(size=x.size)
    tracemalloc.start()
    try:
        assert find_transitions(x, y, np.ones(x.size))
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()
