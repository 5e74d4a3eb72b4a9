"""The store: one HDF5 file, laid out whole before the first draw, so that no kill can damage it.

All chunks are allocated when the file is made. A draw fills its own; nothing that describes the file changes
again but two counters, which are raised once a draw is on the disk.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from lltc import files
from lltc.errors import InputError, printable
from lltc.estimates.stored import check_result
from lltc.fluctuations.tokens.reader import Tokens

FILE, VERSION = "losses.h5", 1
KINDS = ("posterior", "prior")
MOST_CHUNK = 1 << 18
MOST_TEXT = 1 << 24
SPARE = 1 << 20


class Extent(NamedTuple):
    """How many draws of each kind, chains, components beside the whole, and tokens a store holds."""

    posterior: int
    prior: int
    chains: int
    components: int
    tokens: int

    def draws(self, kind: str) -> int:
        """Return the number of draws of one of `KINDS`."""
        return self.posterior if kind == "posterior" else self.prior


class Shape(NamedTuple):
    """One array of the store."""

    shape: tuple[int, ...]
    dtype: Any
    chunk: tuple[int, ...] | None = None

    @property
    def bytes(self) -> int:
        """Return how much room it takes."""
        shape = self.shape
        if self.chunk:
            shape = tuple(-(-size // part) * part for size, part in zip(shape, self.chunk, strict=True))
        return int(np.prod(shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def plan_arrays(extent: Extent, dtype: Any) -> dict[str, Shape]:
    """Return the arrays of losses, `(draw, chain, 1 + component, token)`, and what belongs to them."""
    _, _, chains, components, tokens = extent
    chunk = (1, chains, 1, min(tokens, MOST_CHUNK))
    arrays = {"count": Shape((len(KINDS),), np.int64)}
    for kind in KINDS:
        draws = extent.draws(kind)
        arrays[f"losses/{kind}"] = Shape((draws, chains, 1 + components, tokens), dtype, chunk)
        arrays[f"means/{kind}"] = Shape((draws, chains, 1 + components), np.float64)
        arrays[f"seconds/{kind}"] = Shape((draws, 2), np.float64)
    kinds = {"example": np.int64, "position": np.int64, "weight": np.float64, "loss": np.float64}
    return arrays | {f"token/{name}": Shape((tokens,), kind) for name, kind in kinds.items()}


def predict_size(arrays: dict[str, Shape]) -> int:
    """Return how many bytes the file takes."""
    return sum(array.bytes for array in arrays.values()) + SPARE


def check_room(folder: Path, arrays: dict[str, Shape]) -> None:
    """Refuse arrays that the disk has no room for."""
    size, free = predict_size(arrays), shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"store={str(folder)!r} needs {size / 1e9:.3g} GB, but {free / 1e9:.3g} GB are free there; pass "
            "fewer rows, components or num_draws, or another folder."
        )


def create(
    folder: Path,
    arrays: dict[str, Shape],
    header: dict[str, Any],
    tokens: Tokens,
    first: dict[str, np.ndarray],
) -> Path:
    """Write the file with every array allocated and the `first` ones filled, whole or not at all.

    Raises `InputError` where the disk has no room.
    """
    import h5py

    path = folder / FILE
    check_room(folder, arrays)
    columns = {f"token/{name}": values for name, values in tokens._asdict().items()}
    contents = columns | {"count": np.zeros(len(KINDS), np.int64)} | first

    def fill(target: BinaryIO) -> None:
        with h5py.File(target, "w") as file:
            file.attrs["header"] = json.dumps({"version": VERSION} | header, default=np.generic.item)
            for name, array in arrays.items():
                _allocate(file, name, array)
            for name, values in contents.items():
                dataset: Any = file[name]
                dataset[...] = values

    files.write_whole(path, fill)
    return path


def _allocate(file: Any, name: str, array: Shape) -> None:
    """Make a data set whose place in the file is fixed at once."""
    import h5py

    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    if 0 in array.shape:
        plist.set_layout(h5py.h5d.CONTIGUOUS)
    elif array.chunk:
        plist.set_chunk(array.chunk)
        plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    parent, _, last = name.rpartition("/")
    group = file.require_group(parent) if parent else file
    space = h5py.h5s.create_simple(array.shape)
    kind = h5py.h5t.py_create(np.dtype(array.dtype))
    h5py.h5d.create(group.id, last.encode(), kind, space, plist)


@dataclass(frozen=True)
class Store:
    """An open store of losses, for one writer."""

    file: Any

    @property
    def header(self) -> dict[str, Any]:
        """What is recorded of the reading."""
        return json.loads(self.file.attrs["header"])

    def count(self, kind: str) -> int:
        """Return how many draws are complete."""
        return int(self.file["count"][KINDS.index(kind)])

    def write(self, kind: str, number: int, arrays: dict[str, tuple[Any, np.ndarray]]) -> None:
        """Write one draw, arrays by name as (index, values); it counts once all is on the disk."""
        for name, (index, values) in arrays.items():
            self.file[name][index] = values
        _to_disk(self.file)
        self.file["count"][KINDS.index(kind)] = number + 1
        self.file.flush()


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.id.get_vfd_handle())


def hold(folder: Path) -> AbstractContextManager[None]:
    """Be the only one who reads into `folder`, made when missing."""
    return files.hold(
        folder,
        lambda holder: InputError(
            f"store={str(folder)!r} is being read into by {holder}; wait for it to end, or pass another "
            "store."
        ),
    )


@contextmanager
def opened(path: Path, mode: str = "r") -> Iterator[Any]:
    """Open a file that may come from anyone, or refuse it with the reason.

    A file that is written is one's own, and what ends that is most often a full disk: `FolderError`.
    """
    import h5py

    check_result(path, advice="read into another folder, or remove it")
    try:
        file = h5py.File(path, mode, locking=False)
    except OSError as error:
        raise refused(path, f"cannot be read ({printable(str(error), 200)})") from error
    with file:
        try:
            yield file
        except OSError as error:
            if mode != "r":
                raise files.folder_error(path.parent, error) from error
            raise refused(path, f"cannot be read ({printable(str(error), 200)})") from error


def refused(path: Path, reason: str) -> InputError:
    """Return the sentence for a store that cannot be used."""
    return InputError(f"store file {str(path)!r} {reason}; read into another folder, or remove it.")


def check_arrays(path: Path, file: Any, arrays: dict[str, Shape]) -> None:
    """Refuse a file that lacks an array, or has one of another shape or type."""
    import h5py

    for name, array in arrays.items():
        member = file.get(name)
        if not isinstance(member, h5py.Dataset):
            raise refused(path, f"has no {name}")
        if member.shape != array.shape or member.dtype != np.dtype(array.dtype):
            raise refused(
                path,
                f"has {name} of shape {member.shape} and type {member.dtype}, not {array.shape} and "
                f"{np.dtype(array.dtype)}",
            )
