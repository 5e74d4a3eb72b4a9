"""Safetensors files of a network, single or in shards: where their arrays lie, and what they hold."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lltc.checkpoints.formats.safetensors import Place, find_arrays, read_arrays
from lltc.checkpoints.formats.shards import with_shards
from lltc.checkpoints.intake.budget import Budget
from lltc.checkpoints.intake.files import file_size, is_file


def list_arrays(folder: Path, stem: str) -> dict[str, Place]:
    """Return where each array lies; nothing where there are no safetensors files.

    Args:
        folder: where they lie.
        stem: "model" for `model.safetensors` or the shards of `model.safetensors.index.json`.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    # Where both are, transformers takes the single file.
    for main in (folder / f"{stem}.safetensors", folder / f"{stem}.safetensors.index.json"):
        if is_file(main):
            budget = Budget(main, file_size(main))
            return find_arrays(with_shards(main, budget), budget)[0]
    return {}


def read_each(places: Mapping[str, Place]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield arrays by name, file by file.

    Raises:
        CheckpointError: an array is damaged.
    """
    sizes = {place.file: file_size(place.file) for place in places.values()}
    yield from read_arrays(places, Budget(", ".join(map(str, sizes)), sum(sizes.values())))
