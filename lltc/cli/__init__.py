"""The shell: `lltc demo`, `sweep`, `observe`, `estimate`, `probe`, `components`, `show` and `report`."""

from lltc.cli.app import app, main
from lltc.cli.showing import to_json

__all__ = ["app", "main", "to_json"]
