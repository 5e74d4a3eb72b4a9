"""The site's settings. Its source is the whole repository, so that links hold in both."""

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from lltc.version import VERSION

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
# Kernels start in the notebook's folder and import the modules beside it.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "notebooks")])

project, author, copyright, release = "lltc", "The lltc developers", "The lltc developers", VERSION
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "notebooks/*.ipynb",
    "benchmarks/results/*.md",
    "lltc/chains/README.md",
    "lltc/sweeps/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathematics",
    "draw_architecture",
]
html_math_renderer = "drawn"
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

# What a notebook printed is kept until its text or lltc changes.
CODE = b"".join(path.read_bytes() for path in sorted((ROOT / "lltc").rglob("*.py")))
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "notebooks" / sha256(CODE).hexdigest()[:12])
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True
# A progress bar on standard error is no part of a page.
nb_output_stderr = "remove"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_rtype = False

html_theme = "furo"
html_title = "lltc"
html_static_path = ["static"]
html_css_files = ["lltc.css"]
html_extra_path = ["root"]
html_show_sourcelink = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True


def setup(app: Sphinx) -> None:
    """Let docstrings be as they are written."""
    app.connect("autodoc-process-docstring", _escape_bars)


def _escape_bars(*arguments: Any) -> None:
    """Let |x| be a size: reStructuredText would put something in its place."""
    lines = arguments[-1]
    lines[:] = [line.replace("|", r"\|") for line in lines]
