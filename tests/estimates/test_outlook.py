"""How long an estimate will take is said beforehand, where it is long, and it takes about so long."""

import io
import math
import re
import time
from contextlib import redirect_stderr, redirect_stdout

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lltc
from lltc.chains.loop import LEAST_STEPS
from lltc.estimates import estimator, outlook
from lltc.estimates.effort import read_time
from lltc.estimates.outlook import Course, Outlook, Reached, explain, predict
from tests.problems import regression

DRAWS = st.integers(100, 16_000)
REACHED = st.builds(Reached, DRAWS, st.floats(0.01, 1), st.floats(0, 0.1))
COURSES = st.builds(
    lambda warmup, made, more, most: Course(warmup, made, made + more, made + more + most),
    *(st.integers(0, 1000), st.integers(0, 5000), st.integers(1, 1000), st.integers(0, 16_000)),
)
TARGETS, STEPS = st.floats(0.001, 1), st.floats(1e-4, 10)


@given(REACHED, COURSES, TARGETS, TARGETS, STEPS, st.floats(0.1, 1e5) | st.just(math.inf))
def test_a_smaller_error_takes_longer(reached, course, target, other, step_seconds, allowed):
    small, large = (
        predict(reached, course, wanted, step_seconds, allowed) for wanted in sorted((target, other))
    )
    assert small.seconds >= large.seconds
    assert small.draws >= large.draws
    assert small.error <= large.error
    assert small.draws <= course.most
    if math.isinf(allowed):
        assert course.least <= large.draws


@given(REACHED, DRAWS, st.integers(0, 1000), STEPS)
def test_a_run_as_measured_takes_what_was_predicted(reached, draws, warmup, step_seconds):
    target = reached.error(draws)
    ahead = predict(reached, Course(warmup, 0, 1, 16_000), target, step_seconds)
    assert ahead.draws == draws
    assert ahead.error == target
    assert ahead.seconds == pytest.approx((warmup + draws) * step_seconds)
    arrived = Course(0, draws, draws, 16_000)
    assert predict(reached, arrived, target, step_seconds) == Outlook(draws, target, 0.0)


@given(REACHED, COURSES, TARGETS, STEPS, st.floats(0.1, 1e5))
def test_nothing_goes_on_when_the_time_is_over(reached, course, target, step_seconds, allowed):
    ends = predict(reached, course, target, step_seconds, allowed)
    at_least = (course.warmup + LEAST_STEPS) * step_seconds
    assert ends.seconds <= max(allowed, at_least) * (1 + 1e-9)


def test_the_sentence_says_what_is_reached():
    sooner, late = Outlook(1000, 0.05, 700.0), Outlook(16_000, 0.031, 3000.0)
    assert explain(late, 0.02, sooner, None) == (
        "about 50 min more for 3.1 %, where 2 % is wanted, on this machine (5 % takes 12 min: "
        "target_rel_se=0.05)"
    )
    assert explain(late, 0.031, late, None) == "about 50 min more for 3.1 % on this machine"
    assert explain(late, 0.02, sooner, 16_000) == "about 50 min more for 16,000 draws on this machine"


PAUSE = {"seconds": 0.0}
MODEL, WEIGHTS, (X, Y) = regression(0, 2000, 3)


class SlowRows:
    """Rows of x and y, which take a pause of `PAUSE` seconds to read."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, numbers):
        time.sleep(PAUSE["seconds"])
        return self.rows[numbers]


def model(weights, rows):
    return MODEL(weights, (rows[:, :3], rows[:, 3]))


def narrow(weights, rows):
    return weights[0] ** 4 * weights[1] ** 2 * jnp.ones(len(rows))


def watched(*, progress):
    """Return an estimate on slow data, and what was written to standard error and output meanwhile."""
    errors, output = io.StringIO(), io.StringIO()
    data = SlowRows(np.column_stack([X, Y]))
    with redirect_stderr(errors), redirect_stdout(output):
        estimate = lltc.estimate_llc(model, WEIGHTS, data, num_warmup=256, batch_size=64, progress=progress)
    return estimate, errors.getvalue(), output.getvalue()


@pytest.fixture(scope="module")
def silent():
    """Return what is watched without progress; all programs are compiled then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimator, "FIRST_DRAWS", 256)
        patch.setattr(outlook, "LONG", 0.0)
        return watched(progress=False)


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(estimator, "FIRST_DRAWS", 256)


@pytest.mark.usefixtures("few_draws")
def test_a_long_estimate_says_once_about_how_long_it_takes(silent, monkeypatch):
    monkeypatch.setattr(outlook, "LONG", 1.0)
    monkeypatch.setitem(PAUSE, "seconds", 0.1)
    estimate, errors, output = watched(progress=True)
    told = re.findall(r"lltc: about (\d+ (?:s|min)) more for 2 % on this machine\n", errors)
    assert len(told) == errors.count("more for") == 1
    assert estimate.seconds / 3 < (read_time(told[0]) or 0) < 3 * estimate.seconds
    assert output == ""
    assert estimate.llc == silent[0].llc
    np.testing.assert_array_equal(estimate.energy, silent[0].energy)


def test_of_cheap_draws_nothing_is_said_before_it_is_known_who_makes_them(monkeypatch):
    """Replicas may make `num_draws` anew; with a kernel chosen they do not."""
    monkeypatch.setattr(outlook, "LONG", 0.0)
    said = []
    for kernel in (None, lltc.kernels.ghmc()):
        with redirect_stderr(io.StringIO()) as errors:
            lltc.estimate_llc(narrow, jnp.zeros(2), jnp.zeros(64), num_warmup=64, num_draws=64, kernel=kernel)
        said.append(errors.getvalue())
    assert "more for" not in said[0]
    assert said[1].count("s more for 64 draws on this machine\n") == 1


@pytest.mark.usefixtures("few_draws")
def test_a_short_estimate_says_nothing(silent, monkeypatch):
    monkeypatch.setattr(outlook, "LONG", 600.0)
    assert silent[1:] == ("", "")
    _, errors, _ = watched(progress=True)
    assert "step/s" in errors
    assert "on this machine" not in errors
