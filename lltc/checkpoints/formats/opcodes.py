"""Pickle streams read as plain data: containers and numbers are rebuilt, nothing is imported or called.

A pickle is a program for a stack machine; unpickling runs it, with whatever functions it names. Here the
opcodes that build values are followed, and where the program names a function or a class the caller is told
its name and arguments and decides what, if anything, they mean.
"""

import pickletools
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from lltc.checkpoints.intake.budget import Budget

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
_MAX_NAME = 1000
_MAX_MEMO = 1 << 32
# What an opcode of a byte or two leaves behind, in bytes: a container, its place on the stack and the memo.
_PER_OPCODE = 256
_BATCH = 1024
# The hash of a tuple walks down all of it, without a net; no key of a checkpoint has more parts than this.
_MAX_KEY_PARTS = 100
# Whoever chooses large integers or tuples can choose them to collide, so a table takes only so many.
_ITEMS_PER_ODD_KEY = 500


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
    budget: Budget | None = None,
) -> Any:
    """Return the value of the one pickle at the head of `stream`, read to its end.

    `call(name, args)` stands in for every call the pickle asks for, `refer(id)` for every object kept outside
    of it.

    Raises:
        ValueError: the bytes are no pickle, or use an opcode that cannot be followed without calling.
        CheckpointError: it takes more steps or memory than `budget` has left.

    Example:
        >>> import io, pickle, fractions
        >>> value = read_opcodes(io.BytesIO(pickle.dumps({"n": [1, 2.5], "f": fractions.Fraction(1, 3)})))
        >>> value["n"], value["f"].name
        ([1, 2.5], 'fractions.Fraction')
    """
    budget = budget or Budget("pickle", 0)
    machine = _Machine(call, refer, budget)
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if number % _BATCH == 0:
            budget.count_opcodes(_BATCH)
            budget.take(_BATCH * _PER_OPCODE, "its pickle")
        machine.follow(opcode.name, argument)
    return machine.stack.pop()


def make_dict(pairs: Iterable[tuple[Any, Any]], budget: Budget) -> dict[Any, Any]:
    """Return a dict of `pairs`, whose keys no one may have chosen to end or to stall the process."""
    table = {}
    for key, value in pairs:
        _check_key(key, budget)
        table[key] = value
    return table


def _check_key(key: Any, budget: Budget) -> None:
    if isinstance(key, int) and abs(key) < 1 << 64:
        return
    if not isinstance(key, (int, tuple, frozenset)):
        return
    budget.count(_ITEMS_PER_ODD_KEY)
    waiting = [key]
    for part in waiting:
        waiting += part if isinstance(part, (tuple, frozenset)) else ()
        long = isinstance(part, (str, bytes)) and len(part) > _MAX_NAME
        if long or len(waiting) > _MAX_KEY_PARTS:
            raise ValueError("its pickle uses a key of too many parts")


class _Machine:
    def __init__(self, call: Callable[[str, tuple], Any], refer: Callable[[Any], Any], budget: Budget):
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.call, self.refer, self.budget = call, refer, budget

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
            self.stack.append(self.memo[_place(argument)])
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[_place(argument)] = self.stack[-1]
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
        self.stack.append(make_dict(zip(items[::2], items[1::2], strict=True), self.budget))

    def _frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(self._hashable(self._since_mark())))

    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _appends(self, _: Any) -> None:
        self._extend(self._since_mark())

    _additems = _appends

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _setitems(self, _: Any) -> None:
        self._update(self._since_mark())

    def _global(self, argument: str) -> None:
        self.stack.append(Global(_joined(*argument.split(" ", 1))))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Global(_joined(module, name)))

    def _binpersid(self, _: Any) -> None:
        self.stack.append(self.refer(self.stack.pop()))

    def _reduce(self, _: Any) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        self._call(function, args)

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        keywords, args, function = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self._call(function, args, keywords)

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].parts.append(state)

    def _call(self, function: Any, args: Any, keywords: Any = None) -> None:
        keywords = {} if keywords is None else keywords
        if not isinstance(args, tuple) or not isinstance(keywords, dict):
            raise ValueError("its pickle calls a function with something other than arguments")
        # The same arguments may be handed over again and again, and are copied each time.
        self.budget.take(32 * (len(args) + len(keywords)), "its pickle")
        name = function.name if isinstance(function, Global) else "?"
        self.stack.append(self.call(name, (*args, *keywords.values())))

    def _hashable(self, items: list[Any]) -> list[Any]:
        for item in items:
            _check_key(item, self.budget)
        return items

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, set):
            target.update(self._hashable(items))
        elif isinstance(target, Opaque):
            target.parts.extend(items)
        else:
            target.extend(items)

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Opaque):
            target.parts.extend(items[1::2])
        elif isinstance(target, dict):
            target.update(make_dict(zip(items[::2], items[1::2], strict=True), self.budget))
        else:
            raise ValueError("its pickle fills something other than a dict with keys")


def _place(argument: Any) -> int:
    place = int(argument)
    if not 0 <= place < _MAX_MEMO:
        raise ValueError("its pickle notes a value under a number that is out of range")
    return place


def _joined(module: Any, name: Any) -> str:
    if not (isinstance(module, str) and isinstance(name, str)) or len(module) + len(name) > _MAX_NAME:
        raise ValueError("its pickle names a function by something other than its name")
    return f"{module}.{name}"
