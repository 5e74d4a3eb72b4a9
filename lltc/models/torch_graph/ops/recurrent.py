"""Elman, GRU and LSTM layers as scans over time."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from lltc.errors import InputError
from lltc.models.torch_graph.ops.products import linear

# One array for each of a cell's states, the output first.
State = tuple[Any, ...]
Cell = Callable[[State, Array, Array, Array | None], State]


def _lstm(state: State, gates: Array, weight: Array, bias: Array | None) -> State:
    hidden, cell = state
    enter, forget, new, out = jnp.split(gates + linear(hidden, weight, bias), 4, -1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
    return jax.nn.sigmoid(out) * jnp.tanh(cell), cell


def _gru(state: State, gates: Array, weight: Array, bias: Array | None) -> State:
    (hidden,) = state
    reset, update, new = jnp.split(gates, 3, -1)
    own_reset, own_update, own_new = jnp.split(linear(hidden, weight, bias), 3, -1)
    update = jax.nn.sigmoid(update + own_update)
    new = jnp.tanh(new + jax.nn.sigmoid(reset + own_reset) * own_new)
    return ((1 - update) * new + update * hidden,)


def _elman(activation: Callable[[Array], Array]) -> Cell:
    def cell(state: State, gates: Array, weight: Array, bias: Array | None) -> State:
        (hidden,) = state
        return (activation(gates + linear(hidden, weight, bias)),)

    return cell


def _scanned(
    cell: Cell, x: Array, start: State, weights: Sequence[Array], reverse: bool
) -> tuple[State, Array]:
    """Run one direction of one layer over `x` (time, batch, features)."""
    from_input, from_hidden, *biases = weights
    gates = linear(x, from_input, biases[0] if biases else None)

    def step(state: State, gate: Array) -> tuple[State, Array]:
        state = cell(state, gate, from_hidden, biases[1] if biases else None)
        return state, state[0]

    return lax.scan(step, start, gates, reverse=reverse)


def _layers(
    cell: Cell,
    x: Array,
    start: Any,
    params: Sequence[Array],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> tuple[Array, ...]:
    if train and dropout:
        raise InputError("dropout between recurrent layers is on: call module.eval() first.")
    starts = start if isinstance(start, list | tuple) else [start]
    per, directions = 4 if has_biases else 2, 2 if bidirectional else 1
    if len(params) != per * num_layers * directions:
        raise InputError(
            "a recurrent layer has projections (proj_size), which are not evaluated: leave them out."
        )
    x = jnp.swapaxes(x, 0, 1) if batch_first else x
    last = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            k = layer * directions + direction
            weights = params[k * per : (k + 1) * per]
            state, output = _scanned(cell, x, tuple(s[k] for s in starts), weights, direction == 1)
            outputs.append(output)
            last.append(state)
        x = jnp.concatenate(outputs, -1)
    x = jnp.swapaxes(x, 0, 1) if batch_first else x
    return x, *(jnp.stack(states) for states in zip(*last, strict=True))


def _one_step(cell: Cell) -> Callable[..., Any]:
    def run(x: Array, state: Any, w_in: Array, w_own: Array, b_in: Any = None, b_own: Any = None) -> Any:
        states = tuple(state) if isinstance(state, list | tuple) else (state,)
        hidden, *others = cell(states, linear(x, w_in, b_in), w_own, b_own)
        return (hidden, *others) if others else hidden

    return run


_CELLS: dict[str, Cell] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": _elman(jnp.tanh),
    "rnn_relu": _elman(jax.nn.relu),
}

RECURRENT = {
    **{f"{name}.input": partial(_layers, cell) for name, cell in _CELLS.items()},
    **{f"{name}_cell": _one_step(cell) for name, cell in _CELLS.items()},
}
