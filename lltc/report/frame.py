"""What every page is set in: one file that opens offline and asks nothing of the network."""

import html
import platform
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

from lltc.report.payload import embed
from lltc.version import VERSION

IMAGES = "; img-src data: blob:"


def fill_frame(
    title: str,
    body: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    data: Any,
    written_with: str = "",
    library: str = "",
) -> str:
    """Return a page of `body`, with style sheets and scripts that lie beside this file, and `data` as JSON.

    A `library` of scripts, which may draw images from the page's own bytes, runs first.
    """
    script = "\n".join(read_asset(name) for name in scripts)
    makers = [f"lltc {VERSION}", *([written_with] if written_with else []), python_name()]
    return Template(read_asset("frame.html")).substitute(
        title=html.escape(title),
        css="\n".join(read_asset(name) for name in styles),
        images=IMAGES if library else "",
        body=body,
        footer=html.escape(f"Written with {', '.join(makers)}."),
        data=embed(data),
        library=f"<script>{library}</script>\n" if library else "",
        js=f'"use strict";\n(() => {{\n{script}\n}})();',
    )


def read_asset(name: str) -> str:
    """The text of a file that lies beside this one."""
    return resources.files("lltc.report").joinpath(name).read_text(encoding="utf-8").rstrip()


def python_name() -> str:
    """Which Python this is."""
    return f"{platform.python_implementation()} {platform.python_version()}"
