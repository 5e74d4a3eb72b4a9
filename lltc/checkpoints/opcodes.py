"""Pickle streams read as plain data: containers and numbers are rebuilt, nothing is imported or called.

A pickle is a program for a stack machine; unpickling runs it, with whatever functions it names. Here the
opcodes that build values are followed, and where the program names a function or a class the caller is told
its name and arguments and decides what, if anything, they mean.
"""

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "INT", "LONG", "FLOAT")
_TEXTS = (
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
)
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_ARGUMENTS = frozenset([*_NUMBERS, *_TEXTS, *_BYTES])
_IGNORED = frozenset(["PROTO", "FRAME"])


class Global:
    """A function or class the stream names; it is never looked up."""

    def __init__(self, name: str):
        self.name = name


class Opaque:
    """What the stream would have made by calling `name`; `parts` are the arguments and state it names."""

    def __init__(self, name: str, parts: list[Any]):
        self.name = name
        self.parts = parts


def read_opcodes(
    stream: BinaryIO,
    *,
    call: Callable[[str, tuple], Any] = lambda name, args: Opaque(name, list(args)),
    refer: Callable[[Any], Any] = lambda reference: reference,
) -> Any:
    """Return the value of the one pickle at the head of `stream`, read to its end.

    `call(name, args)` stands in for every call the pickle asks for, `refer(id)` for every object kept outside
    of it.

    Raises:
        ValueError: the bytes are no pickle, or use an opcode that cannot be followed without calling.

    Example:
        >>> import io, pickle, fractions
        >>> value = read_opcodes(io.BytesIO(pickle.dumps({"n": [1, 2.5], "f": fractions.Fraction(1, 3)})))
        >>> value["n"], value["f"].name
        ([1, 2.5], 'fractions.Fraction')
    """
    machine = _Machine(call, refer)
    for opcode, argument, _ in pickletools.genops(stream):
        machine.follow(opcode.name, argument)
    return machine.stack.pop()


class _Machine:
    def __init__(self, call: Callable[[str, tuple], Any], refer: Callable[[Any], Any]):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.call, self.refer = call, refer

    def follow(self, name: str, argument: Any) -> None:
        if name in _IGNORED or name == "STOP":
            return
        if name in _ARGUMENTS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self.memo[int(argument)])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[int(argument)] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif step := getattr(self, f"_{name.lower()}", None):
            step(argument)
        else:
            raise ValueError(f"its pickle uses the opcode {name}, which cannot be read as plain data")

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _since_mark(self) -> list[Any]:
        start = next((i for i in range(len(self.stack) - 1, -1, -1) if self.stack[i] is _MARK), None)
        if start is None:
            raise ValueError("its pickle closes a list that it never opened")
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _list(self, _: Any) -> None:
        self.stack.append(self._since_mark())

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self.stack.append(dict(zip(items[::2], items[1::2], strict=True)))

    def _frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(self._since_mark()))

    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        _extend(self.stack[-1], [item])

    def _appends(self, _: Any) -> None:
        items = self._since_mark()
        _extend(self.stack[-1], items)

    def _additems(self, _: Any) -> None:
        items = self._since_mark()
        _extend(self.stack[-1], items)

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _update(self.stack[-1], [key, value])

    def _setitems(self, _: Any) -> None:
        items = self._since_mark()
        _update(self.stack[-1], items)

    def _global(self, argument: str) -> None:
        self.stack.append(Global(argument.replace(" ", ".")))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Global(f"{module}.{name}"))

    def _binpersid(self, _: Any) -> None:
        self.stack.append(self.refer(self.stack.pop()))

    def _reduce(self, _: Any) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(_name(function), args))

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        keywords, args, function = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(_name(function), (*args, *keywords.values())))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].parts.append(state)


def _name(function: Any) -> str:
    return function.name if isinstance(function, Global) else "?"


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, set):
        target.update(items)
    elif isinstance(target, Opaque):
        target.parts.extend(items)
    else:
        target.extend(items)


def _update(target: Any, items: list[Any]) -> None:
    if isinstance(target, Opaque):
        target.parts.extend(items[1::2])
    else:
        target.update(zip(items[::2], items[1::2], strict=True))
