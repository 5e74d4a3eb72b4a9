"""A hash of what a Python function does, for functions JAX cannot trace."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import jax
import numpy as np

PLAIN = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))
ARRAYS = (np.ndarray, np.generic, jax.Array)


def describe_code(function: Callable) -> Iterator[bytes]:
    """Yield a function's bytecode and constants and the values it closes over, defaults and globals it names.

    Functions of the same package among them are followed likewise; those of others count by their names, the
    numbers they close over and, where they are closed over themselves, by their bytecode.
    """
    home = (getattr(function, "__module__", None) or "").partition(".")[0]
    yield from _describe(function, home, set())


def _describe(value: Any, home: str, visited: set[int]) -> Iterator[bytes]:
    if isinstance(value, PLAIN):
        yield repr(value).encode()
    elif isinstance(value, ARRAYS):
        yield f"{value.dtype}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, ModuleType):
        yield value.__name__.encode()
    elif id(value) not in visited:
        visited.add(id(value))
        yield type(value).__qualname__.encode()
        for part in _parts(value, home):
            yield from _describe(part, home, visited)


def _parts(value: Any, home: str) -> Iterator[Any]:
    """Yield what a function, a piece of code, a container or an object is made of."""
    if isinstance(value, CodeType):
        yield from (value.co_code, *value.co_names, *value.co_consts)
    elif isinstance(value, FunctionType):
        if (value.__module__ or "").partition(".")[0] != home:
            yield f"{value.__module__}.{value.__qualname__}"
            yield from (held for held in _closed_over(value) if isinstance(held, PLAIN + ARRAYS))
            return
        yield from (value.__code__, value.__defaults__, value.__kwdefaults__)
        held = _closed_over(value)
        yield from held
        # What a function was given may be of anyone, such as a user's schedule.
        yield from (item.__code__ for item in held if isinstance(item, FunctionType))
        yield from (value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__)
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif isinstance(value, partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, dict):
        for item in value.items():
            yield from item
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, set | frozenset):
        yield from sorted(value, key=repr)
    elif isinstance(value, type):
        yield f"{value.__module__}.{value.__qualname__}"
    else:
        yield type(value).__call__ if callable(value) else None
        yield vars(value) if hasattr(value, "__dict__") else None


def _names(code: CodeType) -> list[str]:
    """Return the global names a piece of code and those inside it use."""
    inner = [name for const in code.co_consts if isinstance(const, CodeType) for name in _names(const)]
    return sorted({*code.co_names, *inner})


def _closed_over(function: FunctionType) -> list[Any]:
    names = []
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # A name that is yet to be given its value.
            names.append(cell.cell_contents)
    return names
