"""The model record, the choice of inputs and targets, and the losses by name."""

import sys
from collections import namedtuple
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lltc
from lltc.errors import InputError
from lltc.models import Model, cross_entropy, split_inputs, split_targets, squared
from lltc.models.libraries import require
from lltc.models.losses import resolve_loss
from tests.processes import ran

Pair = namedtuple("Pair", ["images", "classes"])


def scale(params, batch):
    return params * batch[0]


def distance(outputs, batch):
    return squared(outputs, batch[1])


def test_model_is_loss_of_apply():
    batch = (jnp.array([[1.0], [2.0]]), jnp.array([[0.0], [1.0]]))
    np.testing.assert_array_equal(Model(scale, distance)(3.0, batch), [4.5, 12.5])


def test_equality_and_hash_leave_params_out():
    one, two = Model(scale, distance, {"w": jnp.ones(3)}), Model(scale, distance, {"w": jnp.zeros(2)})
    assert one == two
    assert hash(one) == hash(two)
    assert one != Model(scale, lambda outputs, batch: distance(outputs, batch))


def test_jit_compiles_the_same_adapter_once():
    traced = []

    @partial(jax.jit, static_argnames="model")
    def run(model, params, batch):
        traced.append(model)
        return model(params, batch)

    model = Model(scale, distance, {"w": jnp.ones(3)})
    batch = (jnp.ones((2, 1)), jnp.zeros((2, 1)))
    run(model=model, params=1.0, batch=batch)
    run(model=model, params=2.0, batch=batch)
    assert len(traced) == 1


def test_a_loss_with_positions_left_is_refused():
    with pytest.raises(InputError, match=r"one number an example.*\(2, 3\)"):
        Model(lambda p, b: p * b, lambda f, _: f)(1.0, jnp.ones((2, 3)))


def test_a_scalar_mean_passes():
    assert float(Model(lambda p, b: p * b, lambda f, _: f.mean())(2.0, jnp.ones((2, 3)))) == 2.0


@pytest.mark.parametrize(
    ("batch", "selector", "inputs", "targets"),
    [
        ((1, 2), None, 1, 2),
        ([1, 2, 3], None, 1, 2),
        ({"inputs": 1, "targets": 2}, None, 1, 2),
        ({"x": 1, "y": 2}, None, 1, 2),
        ({"label": 2, "image": 1}, None, 1, 2),
        (5, None, 5, 5),
        ((1, 2, 3), 2, 3, 3),
        ((1, 2, 3), -1, 3, 3),
        ({"a": 1, "b": 2}, "b", 2, 2),
        (Pair(1, 2), "classes", 2, 2),
        (Pair(1, 2), None, 1, 2),
        ((1, 2), sum, 3, 3),
    ],
)
def test_splitting(batch, selector, inputs, targets):
    assert split_inputs(batch, selector) == inputs
    assert split_targets(batch, selector) == targets


@pytest.mark.parametrize(
    ("batch", "selector", "message"),
    [
        ({"a": 1}, None, r"targets not found: .*\['a'\].*'targets', 'y', 'label'.*targets="),
        ({"a": 1}, "b", r"\['a'\].*\['b'\]"),
        ((1,), None, "item 1 .* batch of 1 items"),
        ((1, 2), 2, "item 2 .* batch of 2 items"),
        ((1, 2), "y", "item 'y' .* batch of 2 items"),
        (jnp.ones(3), 1, "targets=1 looks an item up"),
    ],
)
def test_splitting_says_what_is_missing(batch, selector, message):
    with pytest.raises(InputError, match=message):
        split_targets(batch, selector)


def test_cross_entropy_of_known_probabilities():
    logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]])) + 3.0
    np.testing.assert_allclose(cross_entropy(logits, jnp.array([1, 2])), -np.log([0.25, 0.7]), rtol=1e-6)


def test_cross_entropy_is_the_mean_over_positions():
    logits = jnp.log(jnp.array([[[0.5, 0.5], [0.1, 0.9]]]))
    np.testing.assert_allclose(
        cross_entropy(logits, jnp.array([[0, 1]])), [-(np.log(0.5) + np.log(0.9)) / 2], rtol=1e-6
    )


def test_cross_entropy_of_a_label_outside_is_nan():
    losses = cross_entropy(jnp.zeros((3, 4)), jnp.array([-1, 0, 4]))
    assert np.isnan(losses).tolist() == [True, False, True]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.floats(-20, 20))
def test_cross_entropy_ignores_a_common_shift(seed, shift):
    logits = jax.random.normal(jax.random.key(seed), (5, 3))
    labels = jax.random.randint(jax.random.key(seed + 1), (5,), 0, 3)
    # Logits near 20 are rounded to 2e-6 in float32.
    np.testing.assert_allclose(
        cross_entropy(logits + shift, labels), cross_entropy(logits, labels), atol=1e-5
    )


def test_squared_sums_over_all_axes_but_the_first():
    outputs = jnp.arange(8.0).reshape(2, 2, 2)
    np.testing.assert_array_equal(squared(outputs, jnp.zeros((2, 2, 2))), [7.0, 63.0])
    np.testing.assert_array_equal(squared(jnp.array([[1.0], [2.0]]), jnp.array([0.0, 4.0])), [0.5, 2.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: squared(jnp.ones((2, 3)), jnp.ones((3,))), r"\(2, 3\) and \(3,\)"),
        (lambda: cross_entropy(jnp.ones((2, 3)), jnp.ones(2)), "integer labels and received float"),
        (lambda: cross_entropy(jnp.ones((2, 3)), jnp.ones((2, 1), int)), r"\(2, 3\) and \(2, 1\)"),
        (lambda: resolve_loss("hinge"), r"'cross_entropy', .*'token_cross_entropy'\].*'hinge'"),
        (lambda: resolve_loss(3), "received 3"),  # pyright: ignore[reportArgumentType]
        (lambda: resolve_loss(distance, "y"), "only with a loss given by name"),
        (lambda: resolve_loss("cross_entropy")(jnp.ones((2, 3, 5)), jnp.ones((2, 3), int)), "next-token"),
    ],
)
def test_bad_losses_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_next_token_targets_come_from_one_array():
    loss = resolve_loss("cross_entropy", lambda tokens: tokens[:, 1:])
    np.testing.assert_allclose(loss(jnp.zeros((2, 3, 5)), jnp.ones((2, 4), int)), np.log([5, 5]), rtol=1e-6)


def test_an_autoencoder_is_compared_with_its_input():
    np.testing.assert_array_equal(resolve_loss("squared")(jnp.zeros((2, 2)), jnp.ones((2, 2))), [1.0, 1.0])


def test_a_library_that_breaks_inside_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "brittle_library.py").write_text("import a_library_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
        require("brittle_library", "adapter", "brittle")


def test_importing_the_adapters_brings_no_framework():
    heavy = {"flax", "equinox", "haiku", "keras", "numpyro", "orbax"}
    program = f"import sys, lltc.models; print(sorted({heavy} & set(sys.modules)))"
    root = Path(lltc.__file__).parents[1]
    assert ran([sys.executable, "-c", program], cwd=root).strip() == "[]"
