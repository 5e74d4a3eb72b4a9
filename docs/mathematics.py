"""Mathematics as drawings by matplotlib: the same in every browser, without a network, fonts or scripts."""

import re
from html import escape
from io import StringIO
from typing import Any
from zlib import crc32

from docutils import nodes
from matplotlib import rc_context
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import math_to_image
from sphinx.application import Sphinx

COLOUR = "#123456"
FONT = FontProperties(math_fontfamily="stix", size=13)
POINTS_IN_AN_EM = 11.5  # Letters of this face are small beside those of the text.
# What matplotlib spells otherwise.
SPELLINGS = {
    r"\bmod": r"\;\mathrm{mod}\;",
    r"\lVert": r"\|",
    r"\rVert": r"\|",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\tfrac": r"\frac",
    r"\ge": r"\geq",
    r"\le": r"\leq",
    r"\big": "",
    r"\Big": "",
}


def draw(formula: str) -> str:
    """Return an inline SVG in the colour of the text around it, its baseline on the line's."""
    file = StringIO()
    # A star on high is no operator, and has no space around it.
    formula = formula.replace("^*", r"^{\!*\!}").replace("^{*}", r"^{\!*\!}")
    formula = re.sub(r"\\[td]?frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}", formula)
    for name, spelling in SPELLINGS.items():
        formula = re.sub(re.escape(name) + r"(?![a-zA-Z])", lambda _, new=spelling: new, formula)
    with rc_context({"savefig.transparent": True}):
        depth = math_to_image(f"${formula}$", file, prop=FONT, dpi=72, format="svg", color=COLOUR)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(COLOUR, "currentColor")
    svg = svg.strip()
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    # Names of glyphs hold within one drawing only.
    mark = f"m{crc32(formula.encode()):x}"
    svg = re.sub(r'(id="|href="#)', rf"\1{mark}-", svg)
    size = lambda match: f'{match[1]}="{float(match[2]) / POINTS_IN_AN_EM:.3f}em"'
    svg = re.sub(r'\b(width|height)="([\d.]+)pt"', size, svg, count=2)
    style = f"vertical-align:{-depth / POINTS_IN_AN_EM:.3f}em"
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(formula)}" style="{style}"', 1)


def _visit_math(translator: Any, node: nodes.math) -> None:
    translator.body.append(draw(node.astext()))
    raise nodes.SkipNode


def _visit_displaymath(translator: Any, node: nodes.math_block) -> None:
    lines = [draw(line.strip().rstrip("\\")) for line in node.astext().strip().splitlines()]
    translator.body.append('<div class="math">' + "".join(f"<p>{line}</p>" for line in lines) + "</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the renderer to Sphinx; each line of a displayed block is a formula of its own."""
    app.add_html_math_renderer("drawn", (_visit_math, None), (_visit_displaymath, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
