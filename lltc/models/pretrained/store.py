"""What is remembered of networks, as small files of plain data; a damaged one is as good as none."""

import gzip
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from typing import Any

from lltc.checkpoints.intake.documents import unique_keys
from lltc.errors import InputError
from lltc.files import FolderError, cache_folder, read_file, write_whole

# Any change to what `read_program` or `as_json` writes, or to how a network is matched, must raise it.
VERSION = 2
MOST_JSON = 1 << 27
_MAKERS = ("torch", "transformers", "peft")
_MISREAD = (
    InputError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)


def recall(key: str, read: Callable[[Any], Any]) -> Any:
    """Return what `read` makes of the entry `key`; None where there is none, or none that can be read.

    An entry that other versions of the libraries made than are installed counts as none; where they are not
    installed, it is taken.
    """
    folder = cache_folder("graphs")
    if folder is None:
        return None
    with suppress(OSError, EOFError, zlib.error, *_MISREAD):
        with gzip.GzipFile(fileobj=BytesIO(read_file(folder / f"{key}.json.gz"))) as file:
            # What is packed may be far longer than its file.
            content = file.read(MOST_JSON + 1)
        document = json.loads(content if len(content) <= MOST_JSON else b"", object_pairs_hook=unique_keys)
        installed, made_by = _installed(), document["made_by"]
        alike = all(installed.get(name, made_by[name]) == made_by[name] for name in made_by)
        if document["version"] == VERSION and document["key"] == key and alike:
            return read(document["content"])
    return None


def remember(key: str, content: Any) -> None:
    """Write an entry, whole or not at all; where that cannot be, the work goes on without."""
    folder = cache_folder("graphs")
    if folder is None:
        return
    document = {"version": VERSION, "key": key, "made_by": _installed(), "content": content}
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    with suppress(FolderError):
        write_whole(folder / f"{key}.json.gz", gzip.compress(text.encode(), mtime=0))


def _installed() -> dict[str, str]:
    """Return the versions of the libraries that decide what a graph is, as far as they are installed."""
    versions = {}
    for name in _MAKERS:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
