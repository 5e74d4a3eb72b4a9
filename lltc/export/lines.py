"""Where in a module something stands, so that a refusal can name the line."""

import re
import traceback
from pathlib import PurePath

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>\S+)(?:\n +(?P<code>[^\n]+))?')
_LIBRARIES = ("-packages/torch/", "/lltc/export/", "/lltc/models/", "<")


def line_of(trace: str | None) -> str:
    """Return where the innermost frame outside PyTorch stands, such as "line 12 of net.py (y = x.item())".

    Example:
        >>> line_of('File "/home/me/net.py", line 12, in forward\\n    y = x.item()')
        'line 12 of net.py (y = x.item())'
    """
    frame = _own_frame(trace)
    if frame is None:
        return "a place that was not recorded"
    code = f" ({frame['code'].strip()})" if frame["code"] else ""
    return f"line {frame['line']} of {PurePath(frame['file']).name}{code}"


def _own_frame(trace: str | None) -> re.Match[str] | None:
    own = (frame for frame in _FRAME.finditer(trace or "") if not _is_library(frame["file"]))
    return next(iter([*own][-1:]), None)


def _is_library(file: str) -> bool:
    return any(part in file for part in _LIBRARIES)


def own_frame(trace: str | None) -> str:
    """Return the frame that `line_of` names, its file without the folders, as a trace of its own."""
    own = _own_frame(trace)
    if own is None:
        return ""
    code = f"\n    {own['code'].strip()}" if own["code"] else ""
    return f'File "{PurePath(own["file"]).name}", line {own["line"]}, in {own["name"]}{code}'


def line_of_error(error: BaseException) -> str:
    """Return where in the module an exception came up."""
    return line_of("".join(traceback.format_tb(error.__traceback__)))
