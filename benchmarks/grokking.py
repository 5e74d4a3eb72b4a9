"""Networks that learn addition modulo 17, many side by side, and what needs no chain to be seen in them."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lltc

MODULUS, WIDTH, SCALE, RATE = 17, 32, 0.6, 0.01


def outputs(params: Any, batch: Any) -> jax.Array:
    """Return `(left[a] + right[b])² out`, `(batch, p)`."""
    return (params["left"][batch["a"]] + params["right"][batch["b"]]) ** 2 @ params["out"]


def losses(params: Any, batch: Any) -> jax.Array:
    """Return half the squared distance from the one-hot sum, `(batch,)`."""
    sums = jax.nn.one_hot((batch["a"] + batch["b"]) % MODULUS, MODULUS)
    return 0.5 * jnp.sum((outputs(params, batch) - sums) ** 2, axis=1)


behavioral = lltc.behavioral(outputs, "squared", loss=losses)


def split(share: float) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Return the pairs that are trained on and those that are held out."""
    a, b = np.divmod(np.random.default_rng(0).permutation(MODULUS**2), MODULUS)
    cut = round(share * MODULUS**2)
    train, test = (
        {"a": jnp.asarray(a[part]), "b": jnp.asarray(b[part])} for part in (slice(cut), slice(cut, None))
    )
    return train, test


def initial(key: jax.Array) -> dict[str, jax.Array]:
    """Return random weights of one network."""
    keys = jax.random.split(key, 3)
    return {
        "left": SCALE * jax.random.normal(keys[0], (MODULUS, WIDTH)) / jnp.sqrt(2),
        "right": SCALE * jax.random.normal(keys[2], (MODULUS, WIDTH)) / jnp.sqrt(2),
        "out": SCALE * jax.random.normal(keys[1], (WIDTH, MODULUS)) / jnp.sqrt(WIDTH),
    }


def train(share: float, decay: float, keys: int, steps: Sequence[int]) -> Iterator[Any]:
    """Yield the params `(key, …)` of `keys` runs side by side at each of `steps`."""
    examples, optimizer = split(share)[0], optax.adamw(RATE, weight_decay=decay)
    gradient = jax.grad(lambda params: losses(params, examples).mean())

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


def accuracy(params: Any, batch: Any) -> jax.Array:
    """Return the share of right answers."""
    return jnp.mean(outputs(params, batch).argmax(-1) == (batch["a"] + batch["b"]) % MODULUS)


def concentration(params: Any) -> jax.Array:
    """Return the share of a hidden unit's input weights that lies in its strongest frequency, on average."""
    waves = jnp.abs(jnp.fft.rfft(jnp.stack([params["left"], params["right"]]), axis=1)[:, 1:]) ** 2
    power = waves.sum(0)
    return jnp.sum(power.max(0)) / jnp.sum(power)


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
    gradients = [jax.grad(lambda w, half=half: losses(w, half).mean()) for half in halves]
    (first, turned), (second, returned) = (
        jax.jvp(gradients[0], (params,), (gradients[1](params),)),
        jax.jvp(gradients[1], (params,), (gradients[0](params),)),
    )
    apart = optax.global_norm(jax.tree.map(jnp.subtract, returned, turned))
    return apart / (optax.global_norm(first) * optax.global_norm(second))


@jax.jit
def observe(params: Any, train: Any, test: Any) -> dict[str, jax.Array]:
    """Return what needs no chain."""
    loss, gradient = jax.value_and_grad(lambda w: losses(w, train).mean())(params)
    return {
        "train_accuracy": accuracy(params, train),
        "test_accuracy": accuracy(params, test),
        "train_loss": loss,
        "norm": optax.global_norm(params),
        "gradient": optax.global_norm(gradient),
        "defect": defect(params, train),
        "concentration": concentration(params),
    }
