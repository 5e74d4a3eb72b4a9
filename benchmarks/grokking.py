"""Networks that learn addition modulo 17, many side by side, and what needs no chain to be seen in them."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

# The network is that of the notebook on modular addition.
sys.path.append(str(Path(__file__).parents[1] / "notebooks"))
from modular import MODULUS, RATE, accuracy, concentration, initial, model


def split(share: float) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Return the pairs that are trained on and those that are held out."""
    a, b = np.divmod(np.random.default_rng(0).permutation(MODULUS**2), MODULUS)
    cut = round(share * MODULUS**2)
    train, test = (
        {"a": jnp.asarray(a[part]), "b": jnp.asarray(b[part])} for part in (slice(cut), slice(cut, None))
    )
    return train, test


def train(share: float, decay: float, keys: int, steps: Sequence[int]) -> Iterator[Any]:
    """Yield the params `(key, …)` of `keys` runs side by side at each of `steps`."""
    examples, optimizer = split(share)[0], optax.adamw(RATE, weight_decay=decay)
    gradient = jax.grad(lambda params: model(params, examples).mean())

    def step(_: int, state: tuple[Any, Any]) -> tuple[Any, Any]:
        params, opt_state = state
        updates, opt_state = optimizer.update(gradient(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    advance = jax.jit(jax.vmap(lambda count, state: jax.lax.fori_loop(0, count, step, state), (None, 0)))
    params = jax.vmap(initial)(jax.vmap(jax.random.key)(jnp.arange(keys)))
    state, at = (params, jax.vmap(optimizer.init)(params)), 0
    for number in steps:
        state, at = advance(number - at, state), number
        yield state[0]


def defect(params: Any, batch: Any) -> jax.Array:
    """Return ‖w_AB - w_BA‖/(‖η g_A‖‖η g_B‖): how far apart a step on A, then B, and on B, then A, end.

    A and B are the halves of the training pairs, and η goes to 0: ‖H_B g_A - H_A g_B‖/(‖g_A‖‖g_B‖).
    Source: Xu (2026, arXiv:2602.16967).
    """
    middle = len(batch["a"]) // 2
    halves = [
        jax.tree.map(lambda leaf, part=part: leaf[part], batch)
        for part in (slice(middle), slice(middle, None))
    ]
    gradients = [jax.grad(lambda w, half=half: model(w, half).mean()) for half in halves]
    (first, turned), (second, returned) = (
        jax.jvp(gradients[0], (params,), (gradients[1](params),)),
        jax.jvp(gradients[1], (params,), (gradients[0](params),)),
    )
    apart = optax.global_norm(jax.tree.map(jnp.subtract, returned, turned))
    return apart / (optax.global_norm(first) * optax.global_norm(second))


@jax.jit
def observe(params: Any, train: Any, test: Any) -> dict[str, jax.Array]:
    """Return what needs no chain."""
    loss, gradient = jax.value_and_grad(lambda w: model(w, train).mean())(params)
    return {
        "train_accuracy": accuracy(params, train),
        "test_accuracy": accuracy(params, test),
        "train_loss": loss,
        "norm": optax.global_norm(params),
        "gradient": optax.global_norm(gradient),
        "defect": defect(params, train),
        "concentration": concentration(params),
    }
