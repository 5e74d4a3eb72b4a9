"""The checkpoints that carry the constructions, on a curve made for the purpose and in a sweep."""

import numpy as np
import pytest
import xarray as xr

from lltc.checkpoints import find_checkpoints, save_npz
from lltc.errors import InputError
from lltc.sweeps import Sweep
from lltc.sweeps.reading.curve_markers import mark
from tests.synthetic import make_settings

# A plateau to step 60, a jump, a plateau to 150, a climb over two checkpoints, a plateau.
LEVELS = np.array([*[5.0] * 7, *[8.0] * 9, 9.3, 11.2, *[12.0] * 8])


def make_sweep(tmp_path, levels=LEVELS, bad=()):
    count = len(levels)
    named = np.where(np.isin(10 * np.arange(count), bad), "unexplored", "ok").astype(object)
    llc = levels + 0.05 * np.cos(7.0 * np.arange(count))
    columns = {"llc": llc, "llc_se": np.full(count, 0.1), "loss": np.ones(count), "status": named}
    curve = xr.Dataset(
        {name: ("step", values) for name, values in columns.items()}, coords={"step": 10 * np.arange(count)}
    )
    return Sweep(tmp_path, make_settings(), curve, mark(curve))


def told(swept, *folder):
    return [(c.step, c.kind, c.number) for c in swept.critical_checkpoints(*folder)]


def test_the_middle_of_each_plateau_and_a_checkpoint_on_each_way(tmp_path):
    swept = make_sweep(tmp_path)
    assert [(t.step_low, t.step_high) for t in swept.transitions] == [(60, 70), (150, 180)]
    # 10, the middle of 8 and 12, is nearer to 9.3 (step 160) than to 11.2; a jump is told by what follows it.
    assert told(swept) == [
        (30, "plateau", 0),
        (70, "transition", 0),
        (110, "plateau", 1),
        (160, "transition", 1),
        (210, "plateau", 2),
    ]
    for critical in swept.critical_checkpoints():
        ends = critical.marker.step_low, critical.marker.step_high
        assert ends[0] <= critical.step <= ends[1]
        assert (critical.marker in swept.transitions) == (critical.kind == "transition")
        assert critical.path is None
    with pytest.raises(InputError, match="step 30 has no known path"):
        swept.critical_checkpoints()[0].load()


def test_checkpoints_that_are_not_ok_are_passed_over(tmp_path):
    swept = make_sweep(tmp_path, bad=(30, 160))
    # Of steps 0, 10, 20, 40, 50, 60 the earlier middle one; inside the climb only step 170 is left.
    assert [step for step, *_ in told(swept)] == [20, 70, 110, 170, 210]
    none = make_sweep(tmp_path, bad=10 * np.arange(len(LEVELS)))
    assert [step for step, *_ in told(none)] == [30, 70, 110, 160, 210]


def test_plateaus_are_those_between_the_markers(tmp_path):
    """Repeated rows make no marker, and errors far below the level count as a thousandth of it."""
    repeated = make_sweep(tmp_path)
    repeated.curve["status"].values[16:] = "repeated"
    exact = make_sweep(tmp_path, np.where(np.arange(24) < 12, 8.0, 8.005) - 0.05 * np.cos(7 * np.arange(24)))
    exact.curve["llc_se"].values[:] = 1e-6
    for curve, count in ((repeated.curve, 1), (exact.curve, 0)):
        swept = Sweep(tmp_path, make_settings(), curve, mark(curve))
        assert len(swept.transitions) == count
        kinds = [kind for _, kind, _ in told(swept)]
        assert kinds.count("plateau") == kinds.count("transition") + 1 == count + 1


def test_a_curve_without_a_marker_is_one_plateau_and_a_short_one_nothing(tmp_path):
    assert told(make_sweep(tmp_path, np.full(9, 3.0))) == [(40, "plateau", 0)]
    assert told(make_sweep(tmp_path, np.full(2, 3.0))) == []


def test_paths_come_from_the_folder_or_its_records(tmp_path):
    for step in range(0, 260, 10):
        save_npz(tmp_path / "in" / f"step_{step}.npz", {"w": np.full(2, float(step))})
    swept = make_sweep(tmp_path)
    found = swept.critical_checkpoints(tmp_path / "in")
    assert [c.path for c in found] == [tmp_path / "in" / f"step_{c.step}.npz" for c in found]
    assert [c.load()["w"].tolist() for c in found] == [[c.step, c.step] for c in found]
    assert swept.critical_checkpoints(find_checkpoints(tmp_path / "in")) == found
    # A record that is gone leaves the others.
    (tmp_path / "in" / "step_70.npz").unlink()
    assert [c.path is None for c in swept.critical_checkpoints(tmp_path / "in")] == [False, True] + [
        False
    ] * 3
