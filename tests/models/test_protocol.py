"""What every framework's adapter must do, on one network with batch normalisation and dropout."""

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

os.environ["KERAS_BACKEND"] = "jax"

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import keras as keras3
import numpy as np
import pytest
from flax import nnx
from jax.test_util import check_grads

import lltc
from lltc import models
from lltc.errors import InputError

X = jax.random.normal(jax.random.key(1), (6, 3))
LABELS = jnp.array([0, 1, 1, 0, 1, 0])
MEAN, VAR = jnp.array([0.3, -0.2, 0.1, 0.5]), jnp.array([0.5, 1.5, 2.0, 0.7])


class Case(NamedTuple):
    model: models.Model
    params: Any
    logits: Any  # by the framework itself, in evaluation mode
    carried: Callable[[], Any]  # everything the user's object carries, weights and modes included
    statistics: Any  # what a checkpoint holds beside the weights


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(4)(x))
        return nn.Dense(2)(nn.Dropout(0.5, deterministic=not train)(jnp.tanh(x)))


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)])
        self.norm, self.dropout = nnx.BatchNorm(4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.norm.mean[...], self.norm.var[...] = MEAN, VAR

    def __call__(self, x):
        return self.layers[1](self.dropout(jnp.tanh(self.norm(self.layers[0](x)))))


class Equinox(eqx.Module):
    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, key):
        self.first, self.last = eqx.nn.Linear(3, 4, key=key), eqx.nn.Linear(4, 2, key=key)
        self.norm = eqx.nn.BatchNorm(4, axis_name="batch", mode="ema")
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, state, key=None):
        x, state = self.norm(self.first(x), state)
        return self.last(self.dropout(jnp.tanh(x), key=key)), state


def haiku_network(x, is_training=True):
    x = hk.BatchNorm(True, True, 0.9)(hk.Linear(4)(x), is_training)
    x = hk.dropout(hk.next_rng_key(), 0.5, x) if is_training else x
    return hk.Linear(2)(jnp.tanh(x))


def linen_case():
    module = Linen()
    variables = jax.jit(partial(module.init, train=False))(jax.random.key(0), X)
    stats = {"BatchNorm_0": {"mean": MEAN, "var": VAR}}
    model = models.flax_linen(
        module, "cross_entropy", collections={"batch_stats": stats}, kwargs={"train": False}
    )
    params = variables["params"]
    logits = module.apply({"params": params, "batch_stats": stats}, X, train=False)
    return Case(model, params, logits, lambda: stats, stats)


def nnx_case():
    module = Nnx(nnx.Rngs(0))
    model = models.flax_nnx(module, "cross_entropy")
    reference = nnx.clone(module)
    reference.eval()

    def carried():
        return nnx.state(module), module.norm.use_running_average, module.dropout.deterministic

    averages = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
    return Case(model, model.params, reference(X), carried, averages)


def equinox_case():
    module, state = eqx.nn.make_with_state(Equinox)(jax.random.key(0))
    train = jax.vmap(module, axis_name="batch", in_axes=(0, None, None), out_axes=(0, None), axis_size=len(X))
    state = train(3.0 * X + 1.0, state, jax.random.key(2))[1]
    model = models.equinox(module, "cross_entropy", state=state)
    still = eqx.nn.inference_mode(module)
    logits = jnp.stack([still(x, state)[0] for x in X])
    carried = lambda: eqx.filter((module, state), lambda a: not callable(a))
    return Case(model, model.params["params"], logits, carried, model.params["batch_stats"])


def haiku_case():
    network = hk.transform_with_state(haiku_network)
    params, state = jax.jit(partial(network.init, is_training=True))(jax.random.key(0), X)
    train = jax.jit(partial(network.apply, is_training=True))
    _, state = train(params, state, jax.random.key(3), 3.0 * X + 1.0)
    model = models.haiku(network, "cross_entropy", state=state, kwargs={"is_training": False})
    logits = network.apply(params, state, None, X, is_training=False)[0]
    return Case(model, params, logits, lambda: state, state)


def keras_case():
    layers = keras3.layers
    network = keras3.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(4),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Dropout(0.5),
            layers.Dense(2),
        ]
    )
    network.layers[1].set_weights([np.array([1.2, 0.8, 1.0, 0.5]), np.zeros(4), MEAN, VAR])
    model = models.keras(network, "cross_entropy")
    carried = lambda: [v.value for v in network.variables]
    averages = [v.value for v in network.non_trainable_variables]
    return Case(model, model.params, network(X, training=False), carried, averages)


@partial(jax.jit, static_argnames="model")
def losses(model, params, batch):
    return model(params, batch)


CASES = [linen_case, nnx_case, equinox_case, haiku_case, keras_case]


@pytest.fixture(scope="module", params=CASES, ids=lambda make: make.__name__)
def case(request):
    return request.param()


def test_losses_are_those_of_the_framework(case):
    logits = np.asarray(case.logits, np.float64)
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(6), LABELS]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(losses(case.model, case.params, (X, LABELS)), expected, rtol=2e-5)


def test_gradient_matches_finite_differences(case):
    mean = jax.jit(lambda params: case.model(params, (X, LABELS)).mean())
    check_grads(mean, (case.params,), order=1, modes=["rev"], rtol=0.02, atol=0.005)
    norms = [float(jnp.abs(g).max()) for g in jax.tree.leaves(jax.jit(jax.grad(mean))(case.params))]
    assert max(norms) > 1e-2


def test_stacked_params_give_each_chain_its_own_losses(case):
    other = jax.tree.map(lambda p: 1.5 * p + 0.1, case.params)
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), case.params, other)
    both = jax.jit(jax.vmap(case.model, (0, None)))(stacked, (X, LABELS))
    np.testing.assert_allclose(both[0], losses(case.model, case.params, (X, LABELS)), rtol=2e-5)
    np.testing.assert_allclose(both[1], losses(case.model, other, (X, LABELS)), rtol=2e-5)
    assert float(jnp.abs(both[0] - both[1]).max()) > 1e-3


def plain(leaf):
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.array(jax.random.key_data(leaf) if is_key else leaf)


def test_calls_repeat_and_leave_the_object_as_it_was(case):
    before = [plain(leaf) for leaf in jax.tree.leaves(case.carried())]
    first, second = case.model(case.params, (X, LABELS)), case.model(case.params, (X, LABELS))
    jax.jit(jax.grad(lambda params: case.model(params, (X, LABELS)).sum()))(case.params)
    np.testing.assert_array_equal(first, second)
    after = [plain(leaf) for leaf in jax.tree.leaves(case.carried())]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_examples_do_not_depend_on_their_batch(case):
    alone = losses(case.model, case.params, (X[2:3], LABELS[2:3]))
    np.testing.assert_allclose(alone, losses(case.model, case.params, (X, LABELS))[2:3], rtol=2e-5)


def test_running_statistics_come_from_each_checkpoint_and_never_move(case):
    whole = {"params": case.params, "batch_stats": case.statistics}
    plainly = losses(case.model, case.params, (X, LABELS))
    # Statistics that are constants may be folded into the program, to other roundings.
    np.testing.assert_allclose(losses(case.model, whole, (X, LABELS)), plainly, rtol=2e-5)
    later = jax.tree.map(lambda a: a + 1.0 if jnp.ndim(a) else a, case.statistics)
    other = losses(case.model, whole | {"batch_stats": later}, (X, LABELS))
    assert float(jnp.abs(other - plainly).max()) > 1e-3
    moved = lltc.local_posterior(case.model, whole, (X, LABELS)).num_params
    assert moved == lltc.local_posterior(case.model, case.params, (X, LABELS)).num_params


def test_the_adapter_compiles_once(case):
    traced = []

    @partial(jax.jit, static_argnames="model")
    def run(model, params, batch):
        traced.append(model)
        return model(params, batch)

    run(model=case.model, params=case.params, batch=(X, LABELS))
    run(model=case.model, params=jax.tree.map(jnp.zeros_like, case.params), batch=(X, LABELS))
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("library", "install", "make"),
    [
        ("flax", r"lltc\[flax\]", models.flax_linen),
        ("flax", r"lltc\[flax\]", models.flax_nnx),
        ("equinox", r"lltc\[equinox\]", models.equinox),
        ("haiku", r"lltc\[haiku\]", models.haiku),
        ("keras", r"lltc\[keras\]", models.keras),
    ],
)
def test_a_missing_library_is_named_with_its_pip_command(library, install, make, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=f"needs the library {library}, .*pip install '{install}'"):
        make(None, "squared")
