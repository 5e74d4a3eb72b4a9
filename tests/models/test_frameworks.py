"""What is particular to one framework: its params' forms and its own mistakes."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import keras as keras3
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

from lltc import models
from lltc.errors import InputError

X, Y = jax.random.normal(jax.random.key(1), (5, 3)), jnp.zeros((5, 2))
KEY = jax.random.key(0)


class Layers(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List(
            [nnx.Linear(3, 3, rngs=rngs) for _ in range(11)] + [nnx.Linear(3, 2, rngs=rngs)]
        )

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.fixture(scope="module")
def layers():
    module = Layers(nnx.Rngs(0))
    return module, models.flax_nnx(module, "squared")


def test_nnx_params_are_plain_named_arrays(layers):
    module, model = layers
    assert set(model.params) == {"layers"}
    assert set(model.params["layers"]) == {str(i) for i in range(12)}
    np.testing.assert_array_equal(model.params["layers"]["11"]["kernel"], module.layers[11].kernel[...])


def test_nnx_takes_every_form_of_its_params(layers, tmp_path):
    module, model = layers
    expected = model(model.params, (X, Y))
    state = nnx.state(module, nnx.Param)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.save(tmp_path / "dict", model.params)
        checkpointer.wait_until_finished()
        loaded = [checkpointer.restore(tmp_path / name) for name in ("state", "dict")]
    for params in (state, nnx.to_pure_dict(state), *loaded):
        np.testing.assert_array_equal(model(params, (X, Y)), expected)


def test_nnx_names_what_does_not_fit(layers):
    _, model = layers
    params = {"layers": {k: v for k, v in model.params["layers"].items() if k != "3"}, "head": jnp.ones(2)}
    with pytest.raises(
        InputError, match=r"missing \['layers/3/bias', 'layers/3/kernel'\], unknown \['head'\]"
    ):
        model(params, (X, Y))


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        return nn.Dropout(0.5, deterministic=not train)(x)


def test_linen_in_training_mode_is_refused():
    normed = nn.BatchNorm(use_running_average=False)
    variables = normed.init(KEY, X)
    model = models.flax_linen(normed, "squared", collections={"batch_stats": variables["batch_stats"]})
    for refused, params in [(model, variables["params"]), (models.flax_linen(Dropping(), "squared"), {})]:
        with pytest.raises(InputError, match=r"training mode.*kwargs=\{'train': False\}"):
            refused(params, (X, X))


def test_linen_variables_are_told_from_params():
    variables = nn.Dense(2).init(KEY, X)
    with pytest.raises(InputError, match=r"whole variables \['params'\].*variables\[\"params\"\]"):
        models.flax_linen(nn.Dense(2), "squared")(variables, (X, Y))
    with pytest.raises(InputError, match='collections holds "params"'):
        models.flax_linen(nn.Dense(2), "squared", collections=variables)


def test_linen_takes_chosen_inputs_targets_and_loss():
    module = nn.Dense(2)
    params: dict = module.init(KEY, X)["params"]  # pyright: ignore[reportAssignmentType]
    model = models.flax_linen(module, "squared", inputs="pixels", targets=lambda batch: batch["goal"])
    expected = 0.5 * jnp.square(X @ params["kernel"] + params["bias"] - 1.0).sum(1)
    np.testing.assert_allclose(model(params, {"pixels": X, "goal": Y + 1.0}), expected, rtol=1e-5)
    absolute = models.flax_linen(module, lambda f, batch: jnp.abs(f - batch[1]).sum(1))
    np.testing.assert_allclose(
        absolute(params, (X, Y)), np.abs(X @ params["kernel"] + params["bias"]).sum(1), rtol=1e-5
    )


def test_equinox_without_state_takes_params_of_a_training_module():
    module = eqx.nn.Sequential([eqx.nn.MLP(3, 2, 4, 1, key=KEY), eqx.nn.Dropout(0.5)])
    model = models.equinox(module, "squared")
    expected = 0.5 * np.square([module.layers[0](x) for x in X]).sum(1)
    np.testing.assert_allclose(model(model.params, (X, Y)), expected, rtol=1e-5)
    np.testing.assert_allclose(model(module, (X, Y)), expected, rtol=1e-5)
    assert module.layers[1].inference is False


def test_equinox_counts_arrays():
    model = models.equinox(eqx.nn.Linear(3, 2, key=KEY), "squared")
    with pytest.raises(InputError, match="params hold 1 floating arrays where the module has 2"):
        model([jnp.ones((2, 3))], (X, Y))


def test_haiku_without_state_or_rng_argument():
    network = hk.transform(lambda x: hk.Linear(2)(x))
    params = network.init(KEY, X)
    expected = 0.5 * jnp.square(network.apply(params, None, X)).sum(1)
    for transformed in (network, hk.without_apply_rng(network)):
        np.testing.assert_allclose(models.haiku(transformed, "squared")(params, (X, Y)), expected, rtol=1e-6)


def test_haiku_state_must_fit_the_transform():
    plain, stateful = hk.transform(lambda x: x), hk.transform_with_state(lambda x: x)
    with pytest.raises(InputError, match="give the one to hold constant with state="):
        models.haiku(stateful, "squared")
    with pytest.raises(InputError, match="the transform has none"):
        models.haiku(plain, "squared", state={})
    with pytest.raises(InputError, match="received function"):
        models.haiku(lambda x: x, "squared")
    losses = models.haiku(stateful, "squared", state={})({}, (X, X + 1.0))
    np.testing.assert_allclose(losses, [1.5] * 5, rtol=1e-6)


def test_haiku_in_training_mode_is_refused():
    network = hk.transform(lambda x, is_training=True: hk.dropout(hk.next_rng_key(), 0.5 * is_training, x))
    with pytest.raises(InputError, match=r"random key.*kwargs=\{'is_training': False\}"):
        models.haiku(network, "squared")({}, (X, X))


def test_keras_holds_frozen_layers_constant():
    network = keras3.Sequential([keras3.layers.Input((3,)), keras3.layers.Dense(4), keras3.layers.Dense(2)])
    network.layers[0].trainable = False
    model = models.keras(network, "squared")
    assert [p.shape for p in model.params] == [(4, 2), (2,)]
    hidden = X @ network.layers[0].kernel.value
    kernel, bias = model.params
    expected = 0.5 * jnp.square(hidden @ (2.0 * kernel) + bias + 1.0).sum(1)
    np.testing.assert_allclose(model([2.0 * kernel, bias + 1.0], (X, Y)), expected, rtol=1e-5)


def test_keras_mistakes_are_named(monkeypatch):
    dense = keras3.layers.Dense(2)
    with pytest.raises(InputError, match="no weights yet"):
        models.keras(keras3.Sequential([dense]), "squared")
    model = models.keras(keras3.Sequential([keras3.layers.Input((3,)), dense]), "squared")
    with pytest.raises(InputError, match="list of the model's 2 trainable arrays; received list of 1"):
        model([jnp.ones(1)], (X, Y))
    monkeypatch.setattr(keras3.backend, "backend", lambda: "torch")
    with pytest.raises(
        InputError, match=r"backend 'torch'.*KERAS_BACKEND=jax before keras is first imported"
    ):
        models.keras(dense, "squared")
