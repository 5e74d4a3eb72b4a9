"""The recursion over segmentations against brute-force enumeration, and its symmetries."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from lltc.transitions import change_probabilities, segment_curve

RAMP_SHARE = 0.1


def make_curve(seed, n):
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.uniform(1, 30, n))
    se = rng.uniform(0.5, 1.5, n)
    jump = 4 * (np.arange(n) >= rng.integers(1, n)) if n > 1 else 0.0
    return steps, rng.uniform(-5, 5) + jump + se * rng.standard_normal(n), se


def enumerate_segmentations(steps, se, y, rate, inflation):
    """Yield (log joint density, flat pairs, mean) of every segmentation, from the definition."""
    n = len(y)
    scale = max(np.ptp(y), 2 * np.median(se))
    centred = y - (y.min() + y.max()) / 2
    for cuts in product([False, True], repeat=n - 1):
        bounds = [0, *[i + 1 for i, cut in enumerate(cuts) if cut], n]
        log_prior = sum(np.log(rate) if cut else np.log1p(-rate) for cut in cuts)
        segments = list(pairwise(bounds))
        options = [["flat"] if b - a < 3 else ["flat", "step", "log"] for a, b in segments]
        for kinds in product(*options):
            total, fitted, flat = log_prior, np.zeros(n), np.zeros((n, n))
            for (a, b), kind in zip(segments, kinds, strict=True):
                terms = segment_terms(steps[a:b], centred[a:b], inflation * se[a:b], scale, kind)
                total, fitted[a:b] = total + terms[0], terms[1]
                flat[a:b, a:b] = np.triu(np.ones((b - a, b - a))) * (kind == "flat")
            yield total, flat, fitted + (y.min() + y.max()) / 2


def segment_terms(steps, y, se, scale, kind):
    share = 1.0 if len(y) < 3 else (1 - RAMP_SHARE if kind == "flat" else RAMP_SHARE / 2)
    design = np.ones((len(y), 1))
    if kind != "flat":
        x = steps if kind == "step" else np.log1p(steps)
        design = np.column_stack([design, (x - x[0]) / (x[-1] - x[0]) - 0.5])
    prior = scale**2 * design @ design.T
    total = prior + np.diag(se**2)
    log_density = multivariate_normal.logpdf(y, np.zeros(len(y)), total)
    gain = np.linalg.solve(total, prior)
    return np.log(share) + log_density, gain.T @ y


def no_lone_point(y, se):
    """The exact model keeps every error as given only where no point stands out from both neighbours."""
    return np.array_equal(segment_curve(np.arange(len(y)), y, se).curve.weights_se, se)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("inflation", [1.0, 1.7])
def test_recursion_equals_enumeration(n, inflation):
    steps, y, se = make_curve(n, n)
    assert no_lone_point(y, se)
    rate = 0.2
    terms = list(enumerate_segmentations(steps, se, y, rate, inflation))
    logs = np.array([term[0] for term in terms])
    weights = np.exp(logs - logsumexp(logs))
    found = segment_curve(steps, y, se, change_rate=rate, inflations=[inflation])
    assert found.log_evidence == pytest.approx(logsumexp(logs), abs=1e-9)
    plateau = np.tensordot(weights, np.array([term[1] for term in terms]), 1)
    np.testing.assert_allclose(found.plateau, plateau, atol=1e-9)
    fitted = np.tensordot(weights, np.array([term[2] for term in terms]), 1)
    np.testing.assert_allclose(found.fitted, fitted, atol=1e-9)


def test_inflation_is_averaged_by_its_evidence():
    steps, y, se = make_curve(3, 6)
    each = [segment_curve(steps, y, se, inflations=[f]) for f in (1.0, 2.0)]
    both = segment_curve(steps, y, se, inflations=[1.0, 2.0])
    logs = np.array([found.log_evidence for found in each]) + np.log(0.5)
    share = np.exp(logs - logsumexp(logs))
    assert both.log_evidence == pytest.approx(logsumexp(logs), abs=1e-9)
    mixed = share[0] * each[0].plateau + share[1] * each[1].plateau
    np.testing.assert_allclose(both.plateau, mixed, atol=1e-9)
    assert both.inflation == pytest.approx(np.sqrt(share @ [1.0, 4.0]), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40), st.floats(-50, 50), st.floats(0.01, 100))
def test_unit_and_origin_do_not_matter(seed, n, shift, scale):
    steps, y, se = make_curve(seed, n)
    before = segment_curve(steps, y, se)
    after = segment_curve(steps, shift + scale * y, scale * se)
    np.testing.assert_allclose(after.plateau, before.plateau, atol=1e-6)
    np.testing.assert_allclose(after.fitted, shift + scale * before.fitted, atol=1e-5 * scale)
    assert after.log_evidence == pytest.approx(before.log_evidence - n * np.log(scale), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40))
def test_reading_the_curve_backwards_mirrors_the_answer(seed, n):
    _, y, se = make_curve(seed, n)
    steps = np.arange(n) - (n - 1) / 2
    forward = change_probabilities(steps, y, se)
    backward = change_probabilities(steps, y[::-1], se[::-1])
    np.testing.assert_allclose(backward[::-1], forward, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 40))
def test_longer_ranges_are_less_likely_one_plateau(seed, n):
    plateau = segment_curve(*make_curve(seed, n)).plateau
    rows, columns = np.triu_indices(n - 1)
    assert np.all(plateau[rows, columns] >= plateau[rows, columns + 1] - 1e-12)
    assert np.all(plateau[rows + 1, columns + 1] >= plateau[rows, columns + 1] - 1e-12)
