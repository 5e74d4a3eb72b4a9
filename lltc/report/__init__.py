"""Drawing a curve: plots with Matplotlib, one self-contained HTML page, a sketch for the terminal."""

from lltc.report.exhibit import Exhibit
from lltc.report.html import write_report, write_runs_report
from lltc.report.listing import align, list_changes, list_columns, list_reasons
from lltc.report.plots import plot_chains, plot_curve, plot_curves
from lltc.report.spectra import Spectrum, draw_spectra
from lltc.report.stages import plot_stages
from lltc.report.tables import Table
from lltc.report.terminal import sketch, table
from lltc.report.token_page import TokenPage, write_token_page

__all__ = [
    "Exhibit",
    "Spectrum",
    "Table",
    "TokenPage",
    "align",
    "draw_spectra",
    "list_changes",
    "list_columns",
    "list_reasons",
    "plot_chains",
    "plot_curve",
    "plot_curves",
    "plot_stages",
    "sketch",
    "table",
    "write_report",
    "write_runs_report",
    "write_token_page",
]
