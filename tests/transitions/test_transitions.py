"""Markers: operating points on fixed seeds, shapes of curves, missing points and bad input."""

import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from lltc.errors import InputError
from lltc.transitions import (
    Transition,
    change_probabilities,
    find_changes,
    find_plateaus,
    find_transitions,
    segment_curve,
)
from tests.processes import ran

LEVELS = (6.22, 7.89, 9.31, 10.50)
STAIR_SE = 0.06


def stair_curve(rng, widths=(1, 2, 4), cuts=(10, 22, 34), n=46):
    """Four levels; each change takes `widths` intervals with evenly spaced values in between."""
    knots = np.ravel([[cut, cut + width] for cut, width in zip(cuts, widths, strict=True)])
    curve = np.interp(np.arange(n), knots, np.repeat(LEVELS, 2)[1:-1])
    return curve + STAIR_SE * rng.standard_normal(n), list(zip(knots[::2], knots[1::2], strict=True))


def kinds(transitions):
    return [transition.kind for transition in transitions]


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize("too_small", [1, 3])
def test_flat_curves_stay_unmarked(n, too_small):
    marked = 0
    for seed in range(50):
        noise = np.random.default_rng(seed).standard_normal(n)
        marked += bool(find_transitions(range(n), noise, np.full(n, 1 / too_small)))
    # The rates over many curves are 0 and 1 % (benchmarks/results/transitions.md); 5 % are allowed.
    assert marked <= (0 if too_small == 1 else 2)


@pytest.mark.parametrize("n", [20, 100])
def test_six_sigma_steps_are_found_within_one_interval(n):
    hits = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        last = int(rng.integers(1, n - 2))
        y = rng.standard_normal(n) + 6.0 * (np.arange(n) > last)
        hits += any(
            t.kind == "rise" and t.step_low >= last - 1 and t.step_high <= last + 2
            for t in find_transitions(range(n), y, np.ones(n))
        )
    assert hits >= 57


def test_staircase_has_three_markers_that_bracket_its_steps():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y, changes = stair_curve(rng, widths=tuple(rng.permutation([1, 2, 4])))
        found = find_transitions(100 * np.arange(46), y, np.full(46, STAIR_SE))
        assert kinds(found) == ["rise"] * 3
        for transition, (low, high), true in zip(found, changes, np.diff(LEVELS), strict=True):
            assert 100 * (low - 1) <= transition.step_low <= 100 * (low + 1)
            assert 100 * (high - 1) <= transition.step_high <= 100 * (high + 1)
            assert abs(transition.delta_llc - true) < 5 * transition.delta_llc_se
            assert transition.probability >= 0.9


def test_plateaus_carry_level_and_error():
    y, _ = stair_curve(np.random.default_rng(0), widths=(1, 1, 1))
    plateaus = find_plateaus(range(46), y, np.full(46, STAIR_SE))
    assert [(p.step_low, p.step_high) for p in plateaus] == [(0, 10), (11, 22), (23, 34), (35, 45)]
    inflation = segment_curve(range(46), y, np.full(46, STAIR_SE)).inflation
    assert 1 <= inflation < 1.2
    for plateau, level in zip(plateaus, LEVELS, strict=True):
        points = slice(int(plateau.step_low), int(plateau.step_high) + 1)
        assert plateau.level == pytest.approx(y[points].mean(), abs=1e-12)
        assert plateau.se == pytest.approx(inflation * STAIR_SE / np.sqrt(len(y[points])), rel=1e-9)
        assert abs(plateau.level - level) < 4 * plateau.se


def test_delta_scales_with_the_unit_and_falls_mirror_rises():
    y, _ = stair_curve(np.random.default_rng(1))
    plain = find_transitions(range(46), y, np.full(46, STAIR_SE))
    scaled = find_transitions(range(46), 8 * y, np.full(46, 8 * STAIR_SE))
    mirrored = find_transitions(range(46), 3 - y, np.full(46, STAIR_SE))
    for a, b, c in zip(plain, scaled, mirrored, strict=True):
        assert (a.step_low, a.step_high) == (b.step_low, b.step_high) == (c.step_low, c.step_high)
        assert b.delta_llc == pytest.approx(8 * a.delta_llc, rel=1e-12)
        assert b.delta_llc_se == pytest.approx(8 * a.delta_llc_se, rel=1e-9)
        assert c.delta_llc == pytest.approx(-a.delta_llc, rel=1e-9)
        assert (a.kind, c.kind) == ("rise", "fall")


def test_reading_the_curve_backwards_turns_rises_into_falls():
    y, _ = stair_curve(np.random.default_rng(2))
    steps = np.arange(46) - 22.5
    forward = find_transitions(steps, y, np.full(46, STAIR_SE))
    backward = find_transitions(steps, y[::-1], np.full(46, STAIR_SE))
    assert [(-t.step_high, -t.step_low) for t in backward[::-1]] == [
        (t.step_low, t.step_high) for t in forward
    ]
    assert kinds(backward) == ["fall"] * 3


@pytest.mark.parametrize("n", [20, 50, 200])
def test_hump_is_a_rise_and_a_fall(n):
    x = np.arange(n)
    y = 10.0 * ((x > 0.4 * n) & (x <= 0.6 * n)) + np.random.default_rng(n).standard_normal(n)
    found = find_transitions(x, y, np.ones(n))
    assert kinds(found) == ["rise", "fall"]
    assert (found[0].step_low, found[1].step_low) == (np.floor(0.4 * n), np.floor(0.6 * n))


@pytest.mark.parametrize("n", [20, 50, 200])
def test_ramp_is_one_marker_that_spans_it(n):
    x = np.arange(n)
    y = 30 * np.clip((x / (n - 1) - 0.3) / 0.4, 0, 1) + np.random.default_rng(n).standard_normal(n)
    (found,) = find_transitions(x, y, np.ones(n))
    assert abs(found.step_low - 0.3 * (n - 1)) <= 0.05 * n
    assert abs(found.step_high - 0.7 * (n - 1)) <= 0.05 * n
    assert abs(found.delta_llc - 30) < 5 * found.delta_llc_se


def test_ramp_in_log_step_over_the_whole_curve_is_one_marker():
    steps = np.unique(np.geomspace(1, 1e6, 40).round())
    noise = np.random.default_rng(0).standard_normal(len(steps))
    (found,) = find_transitions(steps, 2 * np.log(steps) + noise, np.ones(len(steps)))
    assert (found.step_low, found.step_high) == (steps[0], steps[-1])


@pytest.mark.parametrize(
    ("shape", "peak"),
    [
        ([1, 3, 6, 4, 2, 1], (2, 2)),
        ([31, 36, 43, 20, 12, 11], (2, 2)),
        ([10, 20, 5, 5, 5, 5], (1, 1)),
        ([1, 1, 3, 3, 0, 0], (2, 3)),
        ([1, 1, 9, 3, 3, 3], (2, 2)),
    ],
)
def test_six_points_that_rise_and_fall_are_a_rise_and_a_fall(shape, peak):
    clean = 100.0 * (np.array(shape) - min(shape)) / np.ptp(shape)
    for seed in range(10):
        first, second = find_transitions(
            range(6), clean + np.random.default_rng(seed).normal(size=6), [1] * 6
        )
        assert (first.kind, second.kind) == ("rise", "fall")
        assert (first.step_high, second.step_low) == peak


def test_halfway_is_where_the_curve_passes_the_middle():
    x, covered, widths = np.arange(60), 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        start, width = rng.uniform(10, 30), rng.uniform(1, 15)
        y = 20 * np.clip((x - start) / width, 0, 1) + rng.standard_normal(60)
        (found,) = find_transitions(x, y, np.ones(60))
        low, high = found.halfway
        assert found.step_low <= low < high <= found.step_high
        covered += low <= start + width / 2 <= high
        widths.append(high - low)
    # Stated at .9; a binomial of 40 falls below 32 with probability .015.
    assert covered >= 32
    assert np.mean(widths) < 3
    y = 10.0 * (x > 20) + np.random.default_rng(0).standard_normal(60)
    assert find_transitions(x, -y, np.ones(60))[0].halfway == (20, 21)


@pytest.mark.parametrize("seed", range(10))
def test_a_slow_rise_told_precisely_does_not_hide_where_a_leap_is_halfway(seed):
    """One smooth change fits neither; where the curve passes the middle, its points say plainly."""
    steps = np.array([0, 8, 15, 30, 58, 111, 215, 416, 804, 1553, 3000])
    errors = np.array([0.07, 0.1, 0.1, 0.3, 0.2, 0.2, 0.3, 0.8, 0.3, 1.0, 3.6])
    values = np.array([9.3, 9.9, 12.1, 14.4, 19.8, 21.7, 25.2, 30.1, 31.9, 82.1, 82.4])
    values = values + errors * np.random.default_rng(seed).standard_normal(11)
    leap = max(find_transitions(steps, values, errors), key=lambda marker: marker.step_high)
    assert leap.halfway == (804, 1553)


@pytest.mark.parametrize(
    ("shape", "width"), [("hump", 4.0), ("hump", 8.0), ("sigmoid", 4.0), ("sigmoid", 10.0)]
)
def test_smooth_changes_are_one_marker_each_and_halfway_where_they_are(shape, width):
    x, held = np.arange(100), []
    for seed in range(20):
        rng = np.random.default_rng([seed, int(width)])
        centre = rng.uniform(45, 55)
        z = (x - centre) / width
        clean, places = (
            (20 * np.exp(-(z**2) / 2), centre + width * np.sqrt(2 * np.log(2)) * np.array([-1, 1]))
            if shape == "hump"
            else (30 / (1 + np.exp(-z)), [centre])
        )
        found = find_transitions(x, clean + rng.standard_normal(100), np.ones(100))
        for place in places:
            near = min(found, key=lambda marker: abs(np.mean(marker.halfway) - place))
            held.append(near.halfway[0] <= place <= near.halfway[1])
            assert near.step_low <= near.halfway[0] < near.halfway[1] <= near.step_high
    # Stated at .9; a binomial of 20 falls below 14, one of 40 below 31, with probability .003 and .005.
    assert sum(held) >= (31 if shape == "hump" else 14)


@pytest.mark.parametrize("between", [5, 10])
def test_two_steps_with_a_plateau_between_stay_two(between):
    x = np.arange(60)
    clean = 8.0 * (x >= 25) + 8.0 * (x >= 25 + between)
    for seed in range(5):
        found = find_transitions(x, clean + np.random.default_rng(seed).standard_normal(60), np.ones(60))
        assert [marker.kind for marker in found] == ["rise", "rise"]


def test_a_lone_point_is_an_outlier_only_where_two_changes_are_less_likely():
    spike = 20.0 * (np.arange(40) == 17) + np.random.default_rng(0).standard_normal(40)
    widened = segment_curve(range(40), spike, np.ones(40)).curve
    assert np.flatnonzero(widened.weights_se != 1).tolist() == [17]
    # The prior probability of two changes is 1/40² there and 1/6² here, that of an outlier 1/100.
    short = segment_curve(range(6), spike[15:21], np.ones(6)).curve
    assert short.weights_se.tolist() == [1] * 6
    # Where the levels beside the lone point differ, one change is needed anyway.
    beside = spike + 10 * (np.arange(40) > 17)
    kept = find_transitions(range(40), beside, np.ones(40))
    assert [(t.kind, t.step_low) for t in kept] == [("rise", 16), ("fall", 17)]
    # The tip of a hump that both sides lead up to is none.
    tip = 20 * np.maximum(0, 1 - np.abs(np.arange(41) - 20) / 4) + np.random.default_rng(0).standard_normal(
        41
    )
    assert segment_curve(range(41), tip, np.ones(41)).curve.weights_se.tolist() == [1] * 41


def test_lone_outlier_with_a_small_error_is_no_transition():
    y = np.random.default_rng(0).standard_normal(40)
    y[17] += 25
    assert find_transitions(range(40), y, np.ones(40)) == ()
    y[25:] += 6
    (found,) = find_transitions(range(40), y, np.ones(40))
    assert (found.step_low, found.step_high, found.kind) == (24, 25, "rise")


def test_failed_checkpoints_are_dropped():
    y = np.array([1.0, 1.1, np.nan, 0.9, 1.0, np.nan, 3.0, 3.1, 2.9, np.inf, 3.0])
    se = np.where(np.isfinite(y), 0.1, np.nan)
    (found,) = find_transitions(range(11), y, se)
    assert (found.step_low, found.step_high) == (4, 6)
    kept = np.isfinite(y)
    assert find_transitions(np.arange(11)[kept], y[kept], se[kept]) == (found,)
    p = change_probabilities(range(11), y, se)
    assert p.shape == (10,)
    assert p[4] == p[5] > 0.99
    assert p[1] == p[2] < 0.1
    assert np.isnan(change_probabilities(range(5), [np.nan, 1, 1, 1, np.nan], [1] * 5)[[0, 3]]).all()


def test_errors_shared_by_neighbours_rarely_make_a_marker():
    marked = 0
    for seed in range(50):
        noise = np.random.default_rng(seed).standard_normal(150)
        for k in range(1, 150):
            noise[k] = 0.5 * noise[k - 1] + np.sqrt(0.75) * noise[k]
        marked += bool(find_transitions(range(100), noise[50:], np.ones(100)))
    assert marked <= 2


def test_floor_hides_changes_within_it():
    y = np.where(np.arange(40) < 20, 100.0, 102.0)
    y += 0.1 * np.random.default_rng(0).standard_normal(40)
    assert kinds(find_transitions(range(40), y, np.full(40, 0.1))) == ["rise"]
    (found,) = find_transitions(range(40), y, np.full(40, 0.1), floor=0.005)
    assert found.delta_llc_se == pytest.approx(0.005 * np.hypot(100, 102), rel=0.01)
    assert find_transitions(range(40), y, np.full(40, 0.1), floor=0.01) == ()


def test_min_change_is_the_smallest_change_marked():
    y = 2.0 * (np.arange(60) >= 30) + np.random.default_rng(0).standard_normal(60)
    assert find_transitions(range(60), y, np.ones(60)) == ()
    assert kinds(find_transitions(range(60), y, np.ones(60), min_change=0)) == ["rise"]


@pytest.mark.parametrize("n", [0, 1, 2])
def test_short_curves_have_no_markers(n):
    assert find_transitions(range(n), np.ones(n), np.ones(n)) == ()
    assert find_plateaus(range(n), np.ones(n), np.ones(n)) == ()
    assert np.isnan(change_probabilities(range(n), np.ones(n), np.ones(n))).all()
    assert find_transitions(range(6), [1, 2, np.nan, np.nan, np.nan, np.nan], np.ones(6)) == ()


def test_constant_values_have_no_markers():
    assert find_transitions(range(30), np.full(30, 7.0), np.full(30, 0.1)) == ()
    assert np.all(change_probabilities(range(30), np.full(30, 7.0), np.full(30, 0.1)) < 0.1)


def test_marker_is_a_frozen_record():
    marker = Transition(1.0, 2.0, 3.0, 0.1, "rise", 0.95, (1.0, 2.0))
    with pytest.raises(AttributeError):
        marker.kind = "fall"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"steps": [0, 1, 2]}, "lengths 3, 4 and 4"),
        ({"steps": [0, 2, 1, 3]}, "steps must be"),
        ({"steps": [0, 1, 1, 3]}, "steps must be"),
        ({"steps": [0, 1, 2, np.inf]}, "steps must be"),
        ({"steps": ["a", "b", "c", "d"]}, "steps could not be read"),
        ({"llc": [[1.0, 2.0, 3.0, 4.0]]}, r"llc has shape \(1, 4\)"),
        ({"llc_se": [1, 1, 0, 1]}, "llc_se is 0.0 at step 2"),
        ({"llc_se": [1, -1, 1, 1]}, "llc_se is -1.0 at step 1"),
        ({"llc_se": [1, np.nan, 1, 1]}, "llc_se is nan at step 1"),
        ({"llc_se": [1, np.inf, 1, 1]}, "llc_se is inf at step 1"),
        ({"threshold": 0.0}, "threshold is 0.0"),
        ({"threshold": "0.9"}, "threshold is '0.9'"),
        ({"floor": None}, "floor is None"),
        ({"change_rate": [0.1]}, "change_rate is"),
        ({"threshold": 1.0}, "threshold is 1.0"),
        ({"threshold": np.nan}, "threshold is nan"),
        ({"min_change": -1}, "min_change is -1"),
        ({"floor": 1.0}, "floor is 1.0"),
        ({"change_rate": 0.0}, "change_rate is 0.0"),
    ],
)
def test_bad_input_is_one_sentence(change, names):
    good = {"steps": range(4), "llc": [1.0, 1.0, 2.0, 2.0], "llc_se": [1.0] * 4}
    with pytest.raises(InputError, match=names) as caught:
        find_transitions(**(good | change))
    assert str(caught.value).count(". ") == 0
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["a", "b", "c"], "values could not be read as numbers"),
        ([1.0, 2.0], "steps and values have lengths 3 and 2"),
        ([[1.0, 2.0, 3.0]], r"values has shape \(1, 3\)"),
    ],
)
def test_values_that_are_no_curve_are_one_sentence(values, said):
    with pytest.raises(InputError, match=said):
        find_changes(range(3), values)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tiny", [slice(0, 1), slice(0, 19), slice(5, 12), slice(19, 20)])
def test_very_unequal_errors_find_the_change_that_equal_ones_find(tiny):
    values, errors = np.repeat([1.0, 3.0], 10), np.full(20, 0.1)
    errors[tiny] = 1e-10
    (found,) = find_transitions(range(20), values, errors)
    assert (found.step_low, found.step_high) == (9, 10)
    assert find_transitions(range(20), np.ones(20), errors) == ()
    probabilities = change_probabilities(range(20), values, errors)
    assert probabilities[9] > 0.99
    assert np.delete(probabilities, 9).max() < 0.5


def test_bad_settings_of_the_segmentation():
    with pytest.raises(InputError, match="inflations is"):
        segment_curve(range(4), np.ones(4), np.ones(4), inflations=[0.5])
    with pytest.raises(InputError, match="no finite value"):
        segment_curve(range(3), np.full(3, np.nan), np.ones(3))


def spent(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def test_five_hundred_checkpoints_take_half_a_second_at_most():
    """Of a processor that takes up to 5 nanoseconds for an exponential; of a slower one in proportion."""
    y = np.random.default_rng(0).standard_normal(500)
    pairs = np.subtract.outer(y, y)
    search = lambda: find_transitions(range(500), y, np.ones(500))
    assert search() == ()
    exponentials = lambda: [np.exp(pairs) for _ in range(100)]
    searching, yardstick = (min(spent(call) for _ in range(3)) for call in (search, exponentials))
    print(f"a search takes {searching / yardstick:.2f} of a hundred exponentials of every pair")
    assert searching < max(0.5, 4 * yardstick)


def test_transitions_need_neither_jax_nor_scipy():
    code = "import sys, lltc.transitions; print([m for m in ('jax', 'scipy') if m in sys.modules])"
    assert ran([sys.executable, "-c", code]).strip() == "[]"
