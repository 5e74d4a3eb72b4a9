"""What lltc rests on, as BibTeX."""

import re
from functools import cache
from importlib import resources

from lltc.version import VERSION


@cache
def entries() -> dict[str, str]:
    """Return every entry of `references.bib` by its key, the version of lltc filled in."""
    text = resources.files("lltc.bibliography").joinpath("references.bib").read_text(encoding="utf-8")
    blocks = text.replace("{VERSION}", f"{{{VERSION}}}").strip().split("\n\n")
    return {re.findall(r"@\w+{(\w+),", block)[0]: block for block in blocks}
