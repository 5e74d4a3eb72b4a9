"""What is fuzzed: every reader of foreign files, on seeds that lie beside this file, one folder a format."""

import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lltc.checkpoints import open_checkpoint
from lltc.checkpoints.intake.steps import parse_step
from lltc.errors import CheckpointError, InputError
from lltc.models.torch_graph.from_file import read_exported
from lltc.sweeps.store.settings import SweepSettings

SEEDS = Path(__file__).parent / "seeds"
TEMPLATE = {
    "dense": {"bias": np.zeros(3, np.float32), "kernel": np.zeros((2, 3), np.float32)},
    "scale": np.zeros(2, np.float32),
}


class Layer(NamedTuple):
    """A container that a file may ask for, as this module is imported."""

    kernel: Any
    bias: Any


# Containers of every kind that is noted beside the arrays.
NOTED = {
    "dense": [TEMPLATE["dense"], (np.ones(2, np.float32), None, {})],
    "scale": {1: 2.5, 2: OrderedDict(w=np.zeros(1, np.float32)), 3: {(0, "a"): True}},
    "head": Layer(np.ones(1, np.float32), 3),
}
FILES = {
    "npz": "step_1.npz",
    "safetensors": "step_1.safetensors",
    "msgpack": "checkpoint_1",
    "equinox": "step_1.eqx",
    "torch": "step_1.pt",
}
FOLDERS = ("orbax_ocdbt", "orbax_zarr", "sharded")
# A graph of PyTorch's; its checksums hide it, so its table alone is changed.
EXPORTED = Path(__file__).parents[1] / "models" / "exported" / "quiet.pt2"
TABLE = "quiet.pt2.tmp/models/model.json"
REFUSED = (CheckpointError, InputError)


def seeds(name: str) -> list[bytes]:
    """Return the inputs that fuzzing of `name` starts from."""
    if name == "exported":
        return [_parts()[TABLE]]
    if name in FOLDERS:
        return [bytes([at]) + path.read_bytes() for at, path in enumerate(_members(name))]
    return [path.read_bytes() for path in sorted((SEEDS / name).iterdir())]


def target(name: str, scratch: Path) -> Callable[[bytes], None]:
    """Return a function that reads bytes as `name`; whatever it raises is a fault.

    Of a folder the first byte says which file the others replace.
    """
    if name == "settings":
        return _read_settings
    if name == "exported":
        return lambda content: _read_exported(scratch / EXPORTED.name, content)
    if name == "steps":
        return lambda content: _read_step(content.decode("utf-8", "replace"))
    if name in FILES:
        path = scratch / FILES[name]
        return lambda content: _read_file(path, content)
    home = scratch / "step_1"
    shutil.copytree(SEEDS / name, home)
    members = [home / path.relative_to(SEEDS / name) for path in _members(name)]

    def read_folder(content: bytes) -> None:
        if content:
            path = members[content[0] % len(members)]
            before = path.read_bytes()
            path.write_bytes(content[1:])
            _read(home)
            path.write_bytes(before)

    return read_folder


TARGETS = (*FILES, *FOLDERS, "exported", "settings", "steps")


def _members(name: str) -> list[Path]:
    return sorted(path for path in (SEEDS / name).rglob("*") if path.is_file())


def _read_file(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    _read(path)


def _read(path: Path) -> None:
    for template in (None, TEMPLATE):
        try:
            open_checkpoint(path).load(template)
        except REFUSED as error:
            _check_told(error)


def _parts() -> dict[str, bytes]:
    with zipfile.ZipFile(EXPORTED) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _read_exported(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {**_parts(), TABLE: content}.items():
            archive.writestr(name, part)
    try:
        read_exported(path)
    except REFUSED as error:
        _check_told(error)


def _read_settings(content: bytes) -> None:
    try:
        SweepSettings.from_json(content)
    except ValueError as error:
        _check_told(error)


def _check_told(error: Exception) -> None:
    """A refusal is printable, in one line or a table."""
    if not all(line.isprintable() for line in str(error).split("\n")):
        raise AssertionError(f"{str(error)!r} is not printable") from error


def _read_step(name: str) -> None:
    parse_step(name)
