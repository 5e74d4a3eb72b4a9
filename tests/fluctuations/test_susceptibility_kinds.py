"""Susceptibilities of models of other kinds: of means only, behavioral, and such that leave the numbers."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError, Status
from lltc.fluctuations.susceptibility import susceptibilities
from tests.fluctuations.test_susceptibility import Form, agree, table
from tests.problems import regression

SIZE, WIDTH = 300, 4
MODEL, POINT, DATA = regression(5, SIZE, WIDTH)
PARTS = {"front": "[:2]", "back": "[2:]"}
KEPT = [np.arange(WIDTH) < 2, np.arange(WIDTH) >= 2]
OPTIONS: dict[str, Any] = {"localization": 1.0, "progress": False}


def test_a_model_of_means_has_susceptibilities_but_no_single_examples():
    mean = lambda w, batch: MODEL(w, batch).mean()
    probes: dict[str, Any] = {
        "components": PARTS,
        "slices": {"loud": tuple(1.5 * a for a in DATA)},
        **OPTIONS,
    }
    found = susceptibilities(mean, POINT, DATA, num_draws=8000, nbeta=50.0, **probes)
    loss = Form.of(DATA, POINT)
    phi = [loss.only(kept, 50.0) for kept in KEPT]
    exact = -table(phi, [Form(1.25 * loss.gradient, 1.25 * loss.hessian)], loss, nbeta=50.0, gamma=1.0)
    agree(found.chi, exact, relative=0.2)
    assert found.loss_kernel is None
    assert np.isnan(found.singular_fluctuation.value)
    assert set(found.to_dataset().dims) == {"component", "slice"}
    with pytest.raises(InputError, match=r"rows=\[0\] asks for losses of single examples"):
        susceptibilities(mean, POINT, DATA, rows=[0], **probes)


@pytest.mark.parametrize("option", [{"weights": np.arange(SIZE) % 3}, {"weight_decay": 0.1}])
def test_losses_that_are_not_those_of_single_examples_are_not_taken_for_them(option):
    """Their variances are no functional variance: weights would count twice, and decay in each of them."""
    few: dict[str, Any] = {"num_draws": 128, "num_warmup": 16, **OPTIONS, **option}
    found = susceptibilities(MODEL, POINT, DATA, components=PARTS, slices={"same": DATA}, **few)
    assert found.loss_kernel is None
    assert np.isnan(found.singular_fluctuation.value)
    assert np.isfinite(found.chi.value).all()
    with pytest.raises(InputError, match=r"rows='all' asks .* no plain mean of them under weight"):
        susceptibilities(MODEL, POINT, DATA, rows="all", **few)
    assert lltc.probe(MODEL, POINT, POINT, DATA, **few).examples is None


def test_behavioral_losses_are_read_too():
    """½‖x·u‖² whatever the targets: without slope at w*, so that χ is ½ tr of the curvatures alone."""
    inputs, loss = DATA[0], Form(np.zeros(WIDTH), DATA[0].T @ DATA[0] / SIZE)
    found: Any = susceptibilities(
        lltc.behavioral(lambda w, x: (x @ w)[:, None], "squared"),
        POINT + 1,
        inputs,
        components=PARTS,
        slices={"loud": 2 * inputs},
        nbeta=50.0,
        num_draws=8000,
        rows="all",
        **OPTIONS,
    )
    phi = [loss.only(kept, 50.0) for kept in KEPT]
    agree(
        found.chi,
        -table(phi, [Form(loss.gradient, 3 * loss.hessian)], loss, nbeta=50.0, gamma=1.0),
        relative=0.2,
    )
    assert found.loss_kernel.values.value.shape == (SIZE, SIZE)
    np.testing.assert_allclose(
        np.diag(found.loss_kernel.values.value), found.loss_kernel.variance.value, rtol=1e-6
    )


def test_chains_that_leave_the_numbers_give_none():
    broken = lambda w, batch: jnp.where(jnp.sum((w - POINT) ** 2) > 0, jnp.nan, 0.0) + 0 * batch[1]
    options: dict[str, Any] = {"kernel": lltc.kernels.baoab(), "num_warmup": 64, **OPTIONS}
    found = susceptibilities(broken, POINT, DATA, components=PARTS, slices={"same": DATA}, **options)
    assert found.estimate.status is Status.diverged
    assert np.isnan(found.chi.value).all()
    assert found.loss_kernel is None


def test_means_over_an_odd_number_of_examples_are_halved_too():
    """Of a data set of odd size read in part the two halves of a reading do not share their noise."""
    mean = lambda w, batch: MODEL(w, batch).mean()
    odd = tuple(a[:299] for a in DATA)
    found = susceptibilities(mean, POINT, odd, examples=100, nbeta=50.0, num_draws=128, **OPTIONS)
    first, second = np.moveaxis(found.readings.loss, -1, 0)
    assert 0.1 * np.std(first) < np.std(first - second) < np.std(first)
