"""The Matplotlib axes hold the curve's numbers."""

from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from lltc.errors import InputError
from lltc.report import plot_chains, plot_curve, plot_curves


class Change(NamedTuple):
    step_low: float
    step_high: float
    delta_llc: float
    delta_llc_se: float
    kind: str
    probability: float


def make_curve(**changes):
    columns = {
        "llc": [1.0, 1.2, 3.0, np.nan, 3.2],
        "llc_se": [0.1, 0.2, 0.1, np.nan, 0.1],
        "loss": [0.9, 0.8, 0.3, 0.3, 0.2],
        "status": ["ok", "ok", "ok", "diverged", "ok"],
        **changes,
    }
    return xr.Dataset({k: ("step", v) for k, v in columns.items()}, coords={"step": [0, 10, 20, 30, 40]})


RISE = Change(10, 20, 2.05, 0.11, "rise", 0.98)


def line(ax, label):
    return next(artist for artist in ax.get_lines() if artist.get_label() == label)


def test_curve_error_bars_and_failures_are_the_datas():
    ax = plot_curve(make_curve(), [RISE], known=[(20, 40, 3.5, "rank $1")])
    (bars,) = ax.containers
    assert bars.lines[0].get_xydata().tolist() == [[0, 1.0], [10, 1.2], [20, 3.0], [40, 3.2]]
    segments = [s.tolist() for s in bars.lines[2][0].get_segments()]
    assert segments[1] == [[10.0, 1.0], [10.0, 1.4]]
    assert line(ax, "not ok").get_xdata().tolist() == [30]
    assert line(ax, "known").get_xydata().tolist() == [[20, 3.5], [40, 3.5]]


def test_transition_is_shaded_and_labelled():
    ax = plot_curve(make_curve(), [RISE])
    (span,) = ax.patches
    assert (span.get_x(), span.get_x() + span.get_width()) == (10, 20)
    # Weights 1/.01 and 1/.04 under the first level; the last has two equal ones.
    assert [text.get_text() for text in ax.texts] == ["λ 1.04 ± 0.09", "λ 3.10 ± 0.10", "Δλ +2.05 ± 0.11"]
    # Weights 100 and 25 give (100·1.0 + 25·1.2) / 125.
    assert line(ax, "plateau").get_ydata() == pytest.approx([1.04, 1.04])


def test_loss_stands_on_a_twin_axis_only_when_asked():
    shown, hidden = plot_curve(make_curve()), plot_curve(make_curve(), show_loss=False)
    twin = shown.figure.axes[1]
    assert twin.get_lines()[0].get_ydata().tolist() == [0.9, 0.8, 0.3, 0.3, 0.2]
    assert len(hidden.figure.axes) == 1


def test_step_axis_follows_the_spacing():
    llc = {name: ("step", np.ones(6)) for name in ("llc", "llc_se", "loss")}
    status = {"status": ("step", ["ok"] * 6)}
    for steps, scale in (
        ([0, 1, 10, 100, 1000, 10000], "symlog"),
        ([1, 3, 10, 100, 1000, 10000], "log"),
        ([0, 200, 400, 600, 800, 1000], "linear"),
    ):
        ax = plot_curve(xr.Dataset({**llc, **status}, coords={"step": steps}))
        assert ax.get_xscale() == scale
        low, high = ax.get_xlim()
        assert low < steps[0]
        assert high > steps[-1]


def test_unordered_steps_are_drawn_in_order():
    (bars,) = plot_curve(make_curve().isel(step=[4, 2, 0, 1, 3])).containers
    assert bars.lines[0].get_xdata().tolist() == [0, 10, 20, 40]


def test_given_axes_are_used_and_returned():
    ax = Figure().subplots()
    assert plot_curve(make_curve(), ax=ax) is ax
    assert plot_chains([[1.0, 2.0]], ax=ax) is ax


def test_label_rows_keep_neighbouring_transitions_apart():
    near = [Change(10, 11, 1.0, 0.1, "rise", 0.9), Change(12, 13, -1.0, 0.1, "fall", 0.9)]
    first, second = (text for text in plot_curve(make_curve(), near).texts if "Δλ" in text.get_text())
    assert (first.xyann[1], second.xyann[1]) == (3, 14)


def test_running_means_of_cold_and_hot_chains():
    energies = np.array([[0.0, 2.0, 4.0], [2.0, 2.0, 2.0], [9.0, 6.0, 3.0]])
    ax = plot_chains(energies, hot=[False, False, True])
    assert line(ax, "cold start, running mean").get_ydata().tolist() == [1.0, 1.5, 2.0]
    assert line(ax, "hot start, running mean").get_ydata().tolist() == [9.0, 7.5, 6.0]
    assert [artist.get_ydata().tolist() for artist in ax.get_lines()[:3]] == energies.tolist()


def test_overlay_names_each_curve_literally():
    ax = plot_curves({"_a": make_curve(), "$b": make_curve(llc=[2.0] * 5, llc_se=[0.1] * 5)})
    assert [text.get_text().strip("\u200b") for text in ax.get_legend().get_texts()] == ["_a", "$b"]
    assert ax.containers[1].lines[0].get_ydata().tolist() == [2.0] * 4
    ax.figure.canvas.draw()


def test_each_run_has_a_lane_of_markers():
    curves = {"a": make_curve(), "b": make_curve(), "c": make_curve()}
    ax = plot_curves(curves, {"a": [RISE], "c": [RISE._replace(kind="fall", delta_llc=-2.05)]})
    bars = [line for line in ax.get_lines() if line.get_linewidth() == 5]
    assert [bar.get_xdata().tolist() for bar in bars] == [[10, 20], [10, 20]]
    assert [line.get_marker() for line in ax.get_lines() if line.get_marker() in "^v"] == ["v", "^"]
    assert [text.get_text() for text in ax.texts] == ["−2.05", "+2.05"]
    heights = [bar.get_transform().transform((10, 1))[1] for bar in bars]
    # The first run's lane stands above the others, 11 points apart.
    assert heights[1] - heights[0] == pytest.approx(11 / 72 * ax.figure.dpi)
    with pytest.raises(InputError, match="transitions names 'd'"):
        plot_curves(curves, {"d": [RISE]})


@pytest.mark.parametrize(("suffix", "head"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_a_figure_is_written_in_each_format(tmp_path, suffix, head):
    path = tmp_path / f"curve.{suffix}"
    plot_curve(make_curve(), [RISE]).figure.savefig(path)
    assert path.read_bytes().startswith(head)


def test_a_label_stands_beyond_the_error_bars_under_it():
    curve = make_curve(llc=[1.0, 1.2, 3.0, 3.2, 3.2], llc_se=[0.1, 0.2, 0.1, 0.5, 0.9], status=["ok"] * 5)
    text = plot_curve(curve, [RISE]).texts[1]
    # Only the bar at step 30 lies under the label, which is centred on 20 to 40.
    assert text.xy == pytest.approx((30, 3.7))


@pytest.mark.parametrize("name", ["llc", "llc_se", "loss", "status"])
def test_missing_variable_is_named(name):
    with pytest.raises(InputError, match=f"curve lacks {name};"):
        plot_curve(make_curve().drop_vars(name))


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="known holds 'x'"):
        plot_curve(make_curve(), known=["x"])
    with pytest.raises(InputError, match=r"energies has shape \(3,\)"):
        plot_chains([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match=r"hot has shape \(2,\) for 1 chains"):
        plot_chains([[1.0, 2.0]], hot=[True, False])
    with pytest.raises(InputError, match="curves is empty"):
        plot_curves({})
    with pytest.raises(InputError, match="no checkpoints"):
        plot_curve(make_curve().isel(step=[]))
