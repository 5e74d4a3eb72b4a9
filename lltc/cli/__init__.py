"""The shell: `lltc demo`, `lltc sweep`, `lltc observe`, `lltc estimate`, `lltc probe`, `lltc show`, `lltc report`."""

from lltc.cli.app import app, main
from lltc.cli.showing import to_json

__all__ = ["app", "main", "to_json"]
