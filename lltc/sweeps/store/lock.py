"""One driver a folder."""

from contextlib import AbstractContextManager
from pathlib import Path

from lltc import files
from lltc.errors import InputError


def hold(folder: Path) -> AbstractContextManager[None]:
    """Be the only driver of `folder`, made when missing; a second one is refused with a sentence."""
    return files.hold(
        folder,
        lambda holder: InputError(
            f"out={str(folder)!r} is being swept by {holder}, but a folder takes one sweep at a time; wait "
            "for it to end, or pass another out."
        ),
    )
