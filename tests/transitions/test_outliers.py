"""Failed checkpoints that stand out by many errors: named, and marking nothing."""

import numpy as np
import pytest

from lltc.transitions import find_transitions, segment_curve

CURVES = 200


def contaminated(seed, n=100, *, share=0.05, jump=0.0):
    """Return a curve of unit noise with `share` of its points 8 to 40 errors off, and which they are."""
    rng = np.random.default_rng(seed)
    off = rng.random(n) < share
    away = rng.uniform(8, 40, n) * rng.choice([-1, 1], n)
    level = jump * (np.arange(n) >= n // 2)
    return np.arange(n), level + rng.normal(size=n) + np.where(off, away, 0.0), np.ones(n), off


@pytest.fixture(scope="module")
def flat():
    return [contaminated(seed) for seed in range(CURVES)]


def test_five_in_a_hundred_failed_checkpoints_mark_few_flat_curves(flat):
    marked = np.mean([bool(find_transitions(*curve[:3])) for curve in flat])
    assert marked <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / CURVES)


def test_outliers_are_named(flat):
    told = [segment_curve(*curve[:3]).outliers for curve in flat]
    named = np.mean(
        np.concatenate([np.isin(np.flatnonzero(off), t) for (*_, off), t in zip(flat, told, strict=True)])
    )
    wrongly = np.mean([np.sum(~off[t]) for (*_, off), t in zip(flat, told, strict=True)])
    assert named > 0.9
    assert wrongly < 0.2


def test_a_step_among_failed_checkpoints_is_marked_once():
    counts = [len(find_transitions(*contaminated(seed, jump=10.0)[:3])) for seed in range(CURVES)]
    assert np.mean(np.array(counts) == 1) > 0.9
    assert np.mean(counts) < 1.1


def test_a_change_that_the_last_checkpoint_alone_shows_waits_for_the_next():
    level = np.r_[np.zeros(40), 10.0, 10.0]
    noise = np.random.default_rng(0).normal(size=42)
    assert find_transitions(range(41), (level + noise)[:41], np.ones(41)) == ()
    assert [t.step_high for t in find_transitions(range(42), level + noise, np.ones(42))] == [40]
