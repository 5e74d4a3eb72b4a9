"""JSON that others wrote: parsed within the budget, every key once."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.files import read_file
from lltc.checkpoints.intake.messages import printable

# An empty list, two characters and a comma, becomes an object of 56 bytes and a pointer to it.
_GROWTH = 32


def read_json(path: Path, budget: Budget) -> Any:
    """Return the value of a JSON file."""
    return parse_json(read_file(path, budget), budget)


def parse_json(content: bytes, budget: Budget) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        ValueError: it is none, or a key is there twice.
    """
    budget.take(_GROWTH * len(content), "a table of its contents")
    return json.loads(content.decode(), object_pairs_hook=unique_keys)


def unique_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Return a dict of `pairs`; a `ValueError` where a key is there twice."""
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"it names '{printable(str(twice), 80)}' twice")
    return table
