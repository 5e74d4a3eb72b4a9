"""`python -m lltc.export package:factory out.pt2 --example float32:3x32x32`: a module as a `.pt2` file."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lltc.errors import InputError, first_line
from lltc.export.lines import own_frame
from lltc.export.modules import read_names, unwrap
from lltc.export.program import export_program
from lltc.files import write_whole

_ABOUT = (
    "Write a PyTorch module as the file that lltc.models.torch_exported reads, its batch axis left open. "
    "Needs PyTorch 2.9 or later and nothing else."
)
_EXAMPLE = (
    "one input of the module, as TYPE:LENGTHxLENGTH without the batch (float32:3x32x32, int64:128), by name "
    "as NAME=TYPE:LENGTH; once for every input"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 2 after one sentence on what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m lltc.export", description=_ABOUT)
    parser.add_argument("module", help="package.module:name of the module, or of a function that makes it")
    parser.add_argument("out", help="the .pt2 file to write")
    parser.add_argument("--example", action="append", required=True, metavar="INPUT", help=_EXAMPLE)
    parser.add_argument("--rows", type=int, help="fix the batch, for modules that cannot leave it open")
    given = parser.parse_args(arguments)
    try:
        check_torch()
        _write(load_module(given.module), given.example, given.rows, given.out)
    except InputError as error:
        print(f"lltc.export: {error}", file=sys.stderr)
        return 2
    print(f"wrote {given.out}")
    return 0


def check_torch() -> None:
    """Refuse a PyTorch whose files lltc does not read.

    Raises:
        InputError: PyTorch is older than 2.9, or missing.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError("exporting needs PyTorch 2.9 or later, which is not there: install it.") from error
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9):
        raise InputError(
            f"exporting needs PyTorch 2.9 or later, and {torch.__version__} is there: update it."
        )


def load_module(name: str) -> Any:
    """Return the module at "package.module:name", or what the function there returns.

    Raises:
        InputError: there is none, or importing or making it fails.
    """
    sys.path.insert(0, os.getcwd())
    place, _, attribute = name.partition(":")
    try:
        item = getattr(importlib.import_module(place), attribute)
    # The code there may raise anything.
    except Exception as error:
        raise InputError(
            f"module {name!r} is not there ({_said(error)}): write package.module:name, importable from this "
            "folder."
        ) from error
    # A class has the methods of its modules; a module can be called, but is there already.
    makes = isinstance(item, type) or (callable(item) and not hasattr(item, "state_dict"))
    try:
        return item() if makes else item
    except Exception as error:
        raise InputError(
            f"module {name!r} cannot be made ({_said(error)}): give a module, or a function that makes it "
            "without arguments."
        ) from error


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def read_example(text: str, rows: int) -> tuple[str, Any]:
    """Return the name of an input ("" for one by position) and a tensor of zeros as `text` describes it.

    Raises:
        InputError: it is not written as TYPE:LENGTHxLENGTH.
    """
    import torch

    name, _, kind = text.rpartition("=")
    dtype, _, lengths = kind.partition(":")
    try:
        shape = [int(length) for length in lengths.split("x")] if lengths else []
        return name, torch.zeros((rows, *shape), dtype=getattr(torch, dtype))
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"example {text!r} is none: write TYPE:LENGTHxLENGTH, as float32:3x32x32 or ids=int64:128."
        ) from error


def _write(module: Any, examples: Sequence[str], rows: int | None, out: str) -> None:
    if rows is not None and rows < 1:
        raise InputError(f"rows is {rows}, but must be 1 or more: give how many, or leave the batch open.")
    module = unwrap(module)
    read_names(module)
    inputs = [read_example(text, rows or 2) for text in examples]
    args = tuple(tensor for name, tensor in inputs if not name)
    kwargs = {name: tensor for name, tensor in inputs if name}
    write_program(export_program(module, args, kwargs, free_rows=rows is None), out)


def write_program(program: Any, out: str) -> None:
    """Write an exported program as a `.pt2` file, whole or not at all.

    Raises:
        FolderError: the path cannot be written.
    """
    import torch

    _shorten(program)
    write_whole(Path(out), lambda file: torch.export.save(program, file))


def _shorten(program: Any) -> None:
    """Leave of what PyTorch notes at every node only the line of the module, without the folders."""
    for part in program.graph_module.modules():
        for node in part.graph.nodes if hasattr(part, "graph") else []:
            node.meta.pop("from_node", None)
            if "stack_trace" in node.meta:
                node.meta["stack_trace"] = own_frame(node.meta["stack_trace"])


if __name__ == "__main__":
    raise SystemExit(main())
