"""Susceptibilities on data too large to be read in full, on the host, or unfit."""

from typing import Any

import numpy as np
import pytest

from lltc import InputError
from lltc.fluctuations.susceptibility import susceptibilities
from tests.fluctuations.test_susceptibility import Form, agree, table
from tests.problems import regression

SIZE, WIDTH = 20_000, 4
MODEL, POINT, DATA = regression(5, SIZE, WIDTH)
PARTS = {"front": "[:2]", "back": "[2:]"}
SLICES = {"loud": tuple(1.5 * a for a in DATA), "few": tuple(2 * a[:300] for a in DATA)}
KEPT = [np.arange(WIDTH) < 2, np.arange(WIDTH) >= 2]
OPTIONS: dict[str, Any] = {"localization": 1.0, "progress": False}


@pytest.fixture(scope="module")
def halves() -> Any:
    return susceptibilities(
        MODEL,
        POINT,
        DATA,
        components=PARTS,
        slices=SLICES,
        rows=[7],
        nbeta=2000.0,
        examples=1024,
        num_draws=8000,
        key=1,
        **OPTIONS,
    )


def test_half_batches_leave_no_minibatch_noise(halves):
    loss = Form.of(DATA, POINT)
    phi = [loss.only(kept, 2000.0) for kept in KEPT]
    at = {"nbeta": 2000.0, "gamma": 1.0}
    exact = -table(phi, [Form.of(some, POINT) - loss for some in SLICES.values()], loss, **at)
    agree(halves.chi, exact, relative=0.25)
    noise = np.var(halves.readings.loss[..., 0] - halves.readings.loss[..., 1])
    assert noise > 0.01 * loss.covariance(loss, loss, **at)


def test_singular_fluctuation_of_a_regular_model_is_half_its_dimension(halves):
    """ν = ½ tr(J(H + γ/nβ)⁻¹) + …, with J = E[gg'] = H for a true model: d/2, known from 1025 of 20,000."""
    value, se = halves.singular_fluctuation
    assert abs(value - WIDTH / 2) < 3.5 * se < 0.4 * WIDTH / 2
    kernel = halves.loss_kernel
    assert len(kernel.examples) in (1024, 1025)
    assert kernel.rows.tolist() == [7]
    loss = Form.of(DATA, POINT)
    each = [Form.of((DATA[0][i : i + 1], DATA[1][i : i + 1]), POINT) for i in [*kernel.examples[:50], 7]]
    exact = table([each[-1]], each[:-1], loss, nbeta=2000.0, gamma=1.0)
    agree(type(kernel.values)(kernel.values.value[:, :50], kernel.values.se[:, :50]), exact, relative=0.2)


class Rows:
    """A data set on the host."""

    def __len__(self):
        return SIZE

    def __getitem__(self, rows):
        return tuple(a[rows] for a in DATA)


def test_data_on_the_host_give_the_same_numbers():
    short: dict[str, Any] = {"num_draws": 128, "num_warmup": 64, "examples": 1024, **OPTIONS}
    probes: dict[str, Any] = {"components": PARTS, "slices": {"few": SLICES["few"]}, **short}
    device, host = (susceptibilities(MODEL, POINT, data, **probes) for data in (DATA, Rows()))
    np.testing.assert_allclose(host.readings.phi, device.readings.phi, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(host.chi.value, device.chi.value, rtol=1e-2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"components": {"a": "x/*"}}, r"components\['a'\]='x/\*' selects no"),
        (
            {"components": ["[:1]"], "restrict": "[2:]"},
            r"\['\[:1\]'\]='\[:1\]' selects only parameters",
        ),
        ({"slices": {"s": DATA[0][:3]}}, r"slices\['s'\] cannot be used: model "),
        ({"slices": {"s": 5}}, r"slices\['s'\] cannot be used: data must be"),
        ({"rows": [20_000]}, "rows must be integers from 0 to 19999"),
        ({"rows": [0.5]}, "rows must be"),
        ({"rows": None}, "rows must be integers.* None was given"),
        ({"rows": 5}, "rows must be integers.* 5 was given"),
        ({"rows": [[0], [1, 2]]}, "rows must be integers"),
        ({"slices": [(1, 2)]}, "slices must map names to data sets, but a list was given"),
        ({"rows": "most"}, "rows must be indices into data or 'all'"),
        ({"examples": 1}, "examples must be an integer of at least 2"),
        ({"num_draws": 100}, "num_draws must be at least 128, as only every 16th draw is read"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(options, said):
    with pytest.raises(InputError, match=said):
        susceptibilities(MODEL, POINT, DATA, **(OPTIONS | options))
