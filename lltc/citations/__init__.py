"""What to cite for a result, as BibTeX."""

from lltc.citations.bibtex import citation

__all__ = ["citation"]
