"""A sweep's folder from someone else is input: no file of this machine is read for it, nothing obeyed."""

import json
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest

import lltc
from lltc import InputError, Sweep
from lltc.estimates.stored import check_result
from lltc.sweeps.jobs.request import checkpoint_key
from lltc.sweeps.store import folder as store
from tests.problems import balanced
from tests.sweeping import DATA, FEW, MODEL


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return the folder of a sweep of two checkpoints."""
    pairs = [(step, balanced(step)[0]) for step in (1, 2)]
    return lltc.sweep(pairs, MODEL, DATA, out=tmp_path / "out", **FEW).out


def external(file: Any, secret: Path) -> None:
    del file["posterior/llc"]
    file["posterior"].create_dataset("llc", (2, 4), "u1", external=[(str(secret), 0, 8)])


def linked(file: Any, secret: Path) -> None:
    del file["posterior/llc"]
    file["posterior/llc"] = h5py.ExternalLink(str(secret), "/x")


def softly_linked(file: Any, _: Path) -> None:
    file["posterior/again"] = h5py.SoftLink("/posterior/llc")


def virtual(file: Any, secret: Path) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
    file.create_virtual_dataset("stolen", layout)


def huge(file: Any, _: Path) -> None:
    file.create_dataset("nothing", (10**7, 400), "f4", chunks=(1000, 400))


def crowded(file: Any, _: Path) -> None:
    for number in range(2000):
        file.create_group(f"g{number}")


def odd_status(file: Any, _: Path) -> None:
    file.attrs["status"] = "\x1b]0;PWN\x07ok"


def odd_number(file: Any, _: Path) -> None:
    file.attrs["llc"] = "many"


def odd_budget(file: Any, _: Path) -> None:
    file.attrs["budget"] = "{"


def odd_shares(file: Any, _: Path) -> None:
    file.attrs["budget"] = '{"anchor": "\x1b"}'


def odd_acceptance(file: Any, _: Path) -> None:
    file.attrs["acceptance"] = "x"


def no_step(file: Any, _: Path) -> None:
    file.attrs["step"] = np.nan


def other_step(file: Any, _: Path) -> None:
    file.attrs["step"] = 8


SPOILERS = [external, linked, softly_linked, virtual, huge, crowded, odd_status, odd_number, odd_budget]
SPOILERS += [odd_shares, odd_acceptance, no_step, other_step]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_spoilt_result_is_a_failed_row_with_its_reason(out, tmp_path, spoil):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(201, 209)))
    with h5py.File(store.result_path(out, 2), "r+") as file:
        spoil(file, secret)
    swept = Sweep.open(out)
    assert swept.curve["step"].values.tolist() == [1, 2]
    assert swept.curve["status"].values.tolist()[1] == "failed"
    with pytest.raises(InputError, match="step=2 has no estimate, but one of the curve is needed"):
        swept.estimate(2)
    reason = str(swept.curve["reason"].values[1])
    assert reason.startswith("result file '")
    assert "\x1b" not in repr(swept.curve) + reason
    page = swept.report().read_text()
    assert "201.0,202.0" not in page
    assert "\x1b" not in page


def test_an_estimate_of_someone_elses_is_looked_through_before_it_is_read(out, tmp_path):
    path = store.result_path(out, 2)
    assert lltc.LLCEstimate.load(path).num_chains == FEW["num_chains"]
    with h5py.File(path, "r+") as file:
        external(file, tmp_path / "secret")
    for read in (lltc.LLCEstimate.load, check_result):
        with pytest.raises(InputError, match="takes its numbers from other files"):
            read(path)


@pytest.mark.parametrize("content", ["[]", "{", "{}", json.dumps({"reason": 3, "configuration": "x"})])
def test_odd_failures_and_observables_say_nothing(out, content):
    store.failure_path(out, 1).write_text(content)
    store.observables_path(out, 1).write_text(content)
    assert Sweep.open(out).curve["step"].values.tolist() == [1, 2]


def test_steps_may_count_tokens():
    """Steps beyond 32 bits have keys of their own; those below keep theirs."""
    steps = [0, 5, 2**32 - 1, 2**32, 2**32 + 5, 6 * 10**9, 2**40]
    words = {tuple(np.asarray(jax.random.key_data(checkpoint_key(0, step)))) for step in steps}
    assert len(words) == len(steps)
