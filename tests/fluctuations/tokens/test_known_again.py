"""A store knows its own reading again, and takes no other for it."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lltc
from lltc import InputError
from lltc.estimates.described_options import describe_option

INPUTS = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
ALIKE = {"left": np.ones(2, np.float32), "right": np.ones(2, np.float32)}


def outputs(params, x):
    return jnp.stack([x @ params["left"], x @ params["right"]], -1)


def stepping(coupling=0.1, size=0.5):
    return lltc.kernels.scheduled(lltc.kernels.sgnht(coupling=coupling), optax.constant_schedule(size))


def read_alike(store, *, apply=outputs, kind="squared", data=INPUTS, **changed: Any) -> lltc.LossRecord:
    """Read what is zero at w*, of whatever data, with few draws."""
    options: dict[str, Any] = {"num_draws": 128, "num_warmup": 16, "num_chains": 2, "localization": 1.0}
    options |= {"kernel": stepping(), "preconditioner": optax.scale_by_rms(0.9), "restrict": "left"}
    model = lltc.behavioral(apply, kind)
    return lltc.read(model, ALIKE, data, store=store, rows=[0], progress=False, **(options | changed))


@pytest.fixture(scope="module")
def alike(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alike")
    read_alike(folder)
    return folder


@pytest.mark.parametrize(
    "changed",
    [
        {"restrict": "right"},
        {"apply": lambda params, x: 2 * outputs(params, x)},
        {"kind": "kl"},
        {"data": INPUTS + np.eye(8, 2, -7, dtype=np.float32)},
        {"kernel": stepping(coupling=0.2)},
        {"kernel": stepping(size=0.25)},
        {"preconditioner": optax.scale_by_rms(0.99)},
    ],
)
def test_what_is_alike_at_the_checkpoint_is_another_reading_all_the_same(alike, changed):
    with pytest.raises(InputError, match="holds another reading"):
        read_alike(alike, **changed)


def test_schedules_of_ones_own_are_told_apart():
    kernels = [lltc.kernels.scheduled(lltc.kernels.sgnht(), by) for by in (lambda _: 0.5, lambda _: 0.25)]
    assert describe_option(kernels[0]) != describe_option(kernels[1])


def test_the_same_reading_is_known_again(alike):
    again = {"kernel": stepping(), "preconditioner": optax.scale_by_rms(0.9)}
    assert read_alike(alike, **again).counts == (8, 2)
