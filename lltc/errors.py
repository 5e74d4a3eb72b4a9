"""What lltc raises and warns of on purpose: a sentence that says what to do."""

LONGEST = 2000


class InputError(ValueError):
    """An argument lltc cannot work with: the message names it, what came, what is allowed, what to do."""

    def __init__(self, message: str):
        super().__init__(printable(message))


class LLCWarning(UserWarning):
    """What an estimate may rest on that was hardly meant; the message says what it is and what to do."""


class CheckpointError(InputError):
    """A checkpoint that cannot be read or does not fit; the message names the file and the reason."""


def printable(text: str, longest: int = LONGEST) -> str:
    r"""Return `text` as a terminal or a page may show it: control characters escaped, cut where it is long.

    What comes from files may hold anything, such as sequences that a terminal obeys.

    Example:
        >>> printable("ok \x1b[2J"), printable("long", 3)
        ('ok \\x1b[2J', 'lo…')
    """
    shown = "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode("ascii")
        for char in text.encode("utf-8", "backslashreplace").decode("utf-8")
    )
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def first_line(error: BaseException | str) -> str:
    """Return the first line of what another's error says, without its full stop and cut where it is long.

    Example:
        >>> first_line(ValueError("no such file.\\nor folder")), first_line(KeyboardInterrupt())
        ('no such file', 'KeyboardInterrupt')
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return printable(lines[0].rstrip(". "), 300)


def shown(value: object) -> str:
    """Return what was received as Python writes it, on one line and cut where it is long.

    Example:
        >>> shown({"a": 1}), shown("two")
        ("{'a': 1}", "'two'")
    """
    return printable(" ".join(repr(value).split()), 200)
