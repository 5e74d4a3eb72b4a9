"""Drawing a curve: plots with Matplotlib, one self-contained HTML page, a sketch for the terminal."""

from lltc.report.html import write_report
from lltc.report.plots import plot_chains, plot_curve, plot_curves
from lltc.report.terminal import sketch, table

__all__ = ["plot_chains", "plot_curve", "plot_curves", "sketch", "table", "write_report"]
