"""Result files as they may come from anyone: looked through before anything of them is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lltc.errors import InputError, printable

MOST_GROWTH, LEAST_ROOM = 200, 1 << 26
MOST_MEMBERS = 1000


def check_result(path: Path, *, advice: str = "run the sweep again, or remove it") -> None:
    """Refuse a file of netCDF4 or HDF5 that points to other files, or announces far more than it holds.

    HDF5 lets a file take its numbers from any file of this machine (external storage and links, virtual data
    sets) and leave terabytes to a fill value. Raises `InputError` with the reason.
    """
    import h5py

    try:
        size = path.stat().st_size
        # Files are whole or absent, so that no lock is needed; some file systems have none.
        with h5py.File(path, "r", locking=False) as file:
            announced = sum(_announced(*member) for member in _members(file))
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise _refused(path, f"it cannot be read: {error}", advice) from error
    if announced > MOST_GROWTH * size + LEAST_ROOM:
        raise _refused(path, f"it announces {announced:,} bytes, but holds {size:,}", advice)


def _members(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield every data set by name; raise `ValueError` for links, which may lead anywhere."""
    import h5py

    waiting, count = [file], 0
    while waiting:
        group = waiting.pop()
        for name in group:
            count += 1
            if count > MOST_MEMBERS:
                raise ValueError(f"it has more than {MOST_MEMBERS} members")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name!r} is a link")
            member = group[name]
            if isinstance(member, h5py.Group):
                waiting.append(member)
            else:
                yield name, member


def _announced(name: str, member: Any) -> int:
    """Return how many bytes a data set announces; raise `ValueError` where they lie in other files."""
    import h5py

    if not isinstance(member, h5py.Dataset):
        return 0
    if member.external or member.is_virtual:
        raise ValueError(f"{name!r} takes its numbers from other files")
    return int(member.size or 0) * member.dtype.itemsize


def _refused(path: Path, reason: str, advice: str) -> InputError:
    return InputError(f"result file '{path}' is refused because {printable(reason, 200)}; {advice}.")
