"""Two layers of attention learn how frequent tokens are, then what follows what, then induction.

`python language.py --out runs` trains and saves one run a seed; `lltc sweep runs --runs --model
language:behavioral --data language:data --out sweeps --nbeta 100 --localization 100` measures them.
"""

import argparse
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lltc

NUM_WORDS, NUM_LETTERS, NAME, LENGTH = 20, 16, 8, 32
VOCABULARY = NUM_WORDS + NUM_LETTERS
ALPHABET = "abcdefghijklmnopqrst" + "ABCDEFGHIJKLMNOP"
LAYERS, HEADS, WIDTH, HEAD_WIDTH = 2, 4, 32, 8
NUM_TEXTS, BATCH, RATE, NUM_STEPS = 16_384, 32, 3e-3, 3000
OTHER, WORD, NEW, REPEATED = range(4)
KINDS = {"words": WORD, "new names": NEW, "repeated names": REPEATED}
POSTERIOR = {"nbeta": 100.0, "localization": 100.0, "num_chains": 4, "batch_size": 16, "num_warmup": 128}
HEAD_NAMES = [f"{layer}.{head}" for layer in range(LAYERS) for head in range(HEADS)]
COMPONENTS = {name: f"layers/{name[0]}/*[{name[2]}]" for name in HEAD_NAMES}


@cache
def word_chances() -> np.ndarray:
    """Return the chance of each word after each, `(word, word)`: a few successors, some words common."""
    rows = np.random.default_rng(0).dirichlet(0.15 / np.sqrt(1 + np.arange(NUM_WORDS)), size=NUM_WORDS)
    return 0.95 * rows + 0.05 / NUM_WORDS


def write_texts(count: int, key: int) -> dict[str, np.ndarray]:
    """Return texts `(count, LENGTH + 1)` and of what kind every token but the first is, `(count, LENGTH)`.

    A text is a chain of words in which a name, eight different letters at random, stands twice, at any two
    places that do not touch. WORD follows a word, by its chance; NEW and REPEATED are letters of the first
    and the second spelling, all but the letter that begins it. OTHER tokens nothing foretells.
    """
    rng = np.random.default_rng(key)
    tokens = rng.integers(NUM_WORDS, size=(count, LENGTH + 1))
    chances = word_chances().cumsum(1)
    for place in range(1, LENGTH + 1):
        tokens[:, place] = (chances[tokens[:, place - 1]] > rng.random((count, 1))).argmax(1)
    names = NUM_WORDS + rng.random((count, NUM_LETTERS)).argsort(1)[:, :NAME]
    gaps = np.sort(rng.random((count, LENGTH + 1 - 2 * NAME)).argsort(1)[:, :2], axis=1)
    starts = gaps + np.array([1, 1 + NAME])
    letter = np.arange(LENGTH + 1) - starts[:, :, None]
    inside = (letter >= 0) & (letter < NAME)
    in_name = inside.any(1)
    kind = np.where(in_name[:, 1:] | in_name[:, :-1], OTHER, WORD)
    for spelling, label in enumerate((NEW, REPEATED)):
        row, place = np.nonzero(inside[:, spelling])
        tokens[row, place] = names[row, letter[row, spelling, place]]
        row, place = np.nonzero(inside[:, spelling] & (letter[:, spelling] > 0))
        kind[row, place - 1] = label
    return {"tokens": tokens.astype(np.int32), "kind": kind.astype(np.int32)}


@cache
def data() -> dict[str, np.ndarray]:
    """Return 128 texts that no run is trained on."""
    return write_texts(128, key=12_345)


def run(params: Any, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return logits `(text, place, token)` and attention `(layer, text, head, to, from)`.

    Scores are q·k/√8 and a number for every head and distance; places have no embedding of their own.
    """
    place = jnp.arange(tokens.shape[1])
    back = place[:, None] - place[None, :]
    stream, patterns = params["embed"][tokens], []
    for layer in params["layers"]:
        query, key, value = (jnp.einsum("btd,hdk->bhtk", stream, layer[name]) for name in "qkv")
        scores = (
            query @ key.swapaxes(-1, -2) / np.sqrt(HEAD_WIDTH) + layer["distance"][:, jnp.maximum(back, 0)]
        )
        patterns.append(jax.nn.softmax(jnp.where(back >= 0, scores, -jnp.inf), axis=-1))
        stream = stream + jnp.einsum("bhtk,hkd->btd", patterns[-1] @ value, layer["o"])
    return stream @ params["unembed"], jnp.stack(patterns)


def apply(params: Any, batch: Any) -> jax.Array:
    return run(params, batch["tokens"][:, :-1])[0]


def tokens_model(params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
    """Return the loss of every token but the first, and that all count, for `lltc.read`."""
    return lltc.models.token_cross_entropy(apply(params, batch), batch["tokens"][:, 1:])


def model(params: Any, batch: Any) -> jax.Array:
    return tokens_model(params, batch)[0].mean(1)


behavioral = lltc.behavioral(apply, "kl", loss=model)


def loss_of(kind: int, params: Any) -> jax.Array:
    """Return the mean loss of the tokens of one kind."""
    losses, _ = tokens_model(params, data())
    chosen = data()["kind"] == kind
    return jnp.sum(losses * chosen) / jnp.sum(chosen)


def in_context(params: Any) -> jax.Array:
    """Return the in-context learning score: loss of the second spelling minus that of the first."""
    return loss_of(REPEATED, params) - loss_of(NEW, params)


def prefix_matching(params: Any) -> jax.Array:
    """Return the attention `(head,)` paid to the letter that came next last time, where a letter repeats."""
    texts = data()
    tokens, asked = texts["tokens"][:, :-1], texts["kind"] == REPEATED
    before = jnp.pad(tokens[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    matches = (tokens[:, :, None] == before[:, None, :]) & asked[:, :, None]
    _, patterns = run(params, jnp.asarray(tokens))
    return jnp.einsum("lbhts,bts->lh", patterns, matches.astype(float)).ravel() / jnp.sum(asked)


@cache
def _tables() -> dict[str, np.ndarray]:
    """Return the chances of each token by frequency alone and after each token, counted in texts."""
    tokens = write_texts(NUM_TEXTS, key=54_321)["tokens"]
    counts = np.full((VOCABULARY, VOCABULARY), 0.01)
    np.add.at(counts, (tokens[:, :-1], tokens[:, 1:]), 1)
    unigrams = np.broadcast_to(counts.sum(0) / counts.sum(), counts.shape)
    return {"unigrams": unigrams, "bigrams": counts / counts.sum(1, keepdims=True)}


def distance_from(table: str, params: Any) -> jax.Array:
    """Return the mean of KL(table ‖ model) over all places, nats."""
    wanted = _tables()[table][data()["tokens"][:, :-1]].astype(np.float32)
    told = jax.nn.log_softmax(apply(params, data()))
    return jnp.sum(wanted * (np.log(wanted) - told), axis=-1).mean()


OBSERVABLES = {
    name: jax.jit(function)
    for name, function in (
        {f"from {table}": partial(distance_from, table) for table in ("unigrams", "bigrams")}
        | {f"loss of {name}": partial(loss_of, kind) for name, kind in KINDS.items()}
        | {"in-context learning": in_context, "prefix matching": lambda params: prefix_matching(params).max()}
    ).items()
}


def initialise(key: int) -> Any:
    """Return random weights; the first layer's head h begins with a preference for the token h back."""
    keys = iter(jax.random.split(jax.random.key(key), 2 + 4 * LAYERS))
    draw = lambda scale, *shape: scale * jax.random.normal(next(keys), shape)
    inward, outward, scale = (HEADS, WIDTH, HEAD_WIDTH), (HEADS, HEAD_WIDTH, WIDTH), 1 / np.sqrt(WIDTH)
    layers = [
        {name: draw(scale, *inward) for name in "qkv"}
        | {"o": draw(scale / 2, *outward), "distance": 2 * (layer == 0) * jnp.eye(HEADS, LENGTH)}
        for layer in range(LAYERS)
    ]
    return {
        "embed": draw(0.5, VOCABULARY, WIDTH),
        "layers": layers,
        "unembed": draw(scale, WIDTH, VOCABULARY),
    }


def train(folder: str | Path, steps: Iterable[int], *, key: int = 0) -> None:
    """Train by Adam on texts of its own, and save the parameters at `steps`."""
    texts = jax.tree.map(jnp.asarray, write_texts(NUM_TEXTS, key))
    optimizer, order = optax.adam(RATE), jax.random.key(key)

    def step(index: int | jax.Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
        params, opt_state = state
        chosen = jax.random.randint(jax.random.fold_in(order, index), (BATCH,), 0, NUM_TEXTS)
        batch = jax.tree.map(lambda leaf: leaf[chosen], texts)
        gradient = jax.grad(lambda params: model(params, batch).mean())(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    advance = jax.jit(lambda first, last, state: jax.lax.fori_loop(first, last, step, state))
    params = initialise(key)
    saver, state, at = lltc.Saver(folder, tuple(steps)), (params, optimizer.init(params)), 0
    for number in sorted(saver.steps):
        state, at = advance(at, number, state), number
        saver(number, state[0])


def saved_steps(count: int) -> list[int]:
    """Return step 0 and `count` steps from 8 to 3000, evenly spaced in their logarithm."""
    return [0, *np.unique(np.geomspace(8, NUM_STEPS, count).round().astype(int)).tolist()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a small language model and save checkpoints.")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    parser.add_argument("--num-runs", type=int, default=3)
    parser.add_argument("--num-checkpoints", type=int, default=37)
    arguments = parser.parse_args()
    for seed in range(arguments.num_runs):
        train(arguments.out / f"seed{seed}", saved_steps(arguments.num_checkpoints), key=seed)
