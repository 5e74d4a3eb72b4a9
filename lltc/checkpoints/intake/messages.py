"""Sentences made from what a file says: printable, on as many lines as meant, and of bounded length."""

from collections.abc import Iterator
from contextlib import contextmanager

from lltc.errors import InputError

_MAX_LINES = 40
_MAX_LINE = 2000


def printable(text: str, limit: int = 200) -> str:
    r"""Return `text` on one line, at most `limit` characters of it, with unprintable ones as escapes.

    Example:
        >>> printable("a\x1b[2J\n")
        'a\\x1b[2J\\n'
    """
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


@contextmanager
def plain_messages() -> Iterator[None]:
    """Let no refusal out that a terminal would obey, or that fills a screen: names in it may be a file's."""
    try:
        yield
    except InputError as error:
        message = str(error)
        lines = [printable(line, _MAX_LINE) for line in message.split("\n")]
        plain = "\n".join([*lines[:_MAX_LINES], "…"] if len(lines) > _MAX_LINES else lines)
        if plain == message:
            raise
        raise type(error)(plain) from error
