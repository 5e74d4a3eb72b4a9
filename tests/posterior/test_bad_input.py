"""Bad input gets one sentence that names the argument, what was received, what is allowed and what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc import InputError, Status, estimate_llc

X = np.ones((10, 2), np.float32)
W = jnp.ones(2)


def loss(w, x):
    return 0.5 * jnp.sum((x * w) ** 2, -1)


def refused(*arguments, match: str, **options) -> None:
    with pytest.raises(InputError, match=match) as caught:
        estimate_llc(*arguments, **{"progress": False, **options})
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, "hot"])
def test_nbeta(value):
    refused(loss, W, X, nbeta=value, match=r"nbeta must be a finite number > 0, but .* was given")


@pytest.mark.parametrize("value", [-1.0, np.nan])
def test_localization(value):
    refused(loss, W, X, localization=value, match=r"localization must be a finite number ≥ 0")


@pytest.mark.parametrize("name", ["num_chains", "num_draws", "num_warmup"])
@pytest.mark.parametrize("value", [0, -3, 2.5])
def test_counts(name, value):
    refused(loss, W, X, **{name: value}, match=f"{name} must be an integer of at least")


def test_step_size_and_batch_size_and_precision():
    refused(loss, W, X, step_size=-1.0, match="step_size must be a finite number > 0")
    refused(loss, W, X, batch_size=0, match="batch_size must be an integer of at least 2")
    refused(loss, W, X, target_rel_se=0.0, match="target_rel_se must be a number > 0")


def test_leading_axes_that_differ():
    refused(loss, W, {"x": X, "y": np.ones(7)}, match=r"leading axes differ \(\['x'\]: 10, \['y'\]: 7\)")


def test_no_examples_and_strange_data():
    refused(loss, W, X[:0], match="data holds no examples")
    refused(loss, W, {"x": np.float32(3)}, match="scalar")
    refused(loss, W, {"x": "text"}, match="holds str")


def test_params_that_do_not_fit_the_model():
    refused(loss, jnp.ones(3), X, match=r"model failed on params \(params \(3,\)\)")
    refused(lambda p, x: loss(p["w"], x), {"v": W}, X, match="model failed on params")


def test_params_that_are_not_finite():
    refused(loss, {"w": jnp.array([1.0, jnp.nan])}, X, match="params has non-finite values in w")


def test_loss_that_is_not_finite_at_the_checkpoint():
    refused(lambda w, x: jnp.log(-loss(w, x)), W, X, match="not finite at params on 10 of the 10 examples")
    refused(loss, W, X * np.nan, match="not finite at params on 10 of the 10 examples")


def test_loss_of_a_wrong_shape():
    refused(lambda w, x: x * w, W, X, match=r"losses of shape \(10, 2\) for a batch of 10, but \(10,\)")
    refused(lambda *_: jnp.ones(10, int), W, X, match="must return floating-point losses")
    refused(lambda w, x: {"loss": loss(w, x)}, W, X, match="must return floating-point losses")


def test_a_loss_that_is_a_number_of_python_is_told_to_ignore_its_params():
    estimate = estimate_llc(lambda *_: 0.5, W, X, num_draws=32, num_warmup=8, progress=False)
    assert estimate.status is Status.unused


def test_model_that_needs_concrete_values():
    refused(lambda w, _: np.asarray(w) * np.ones(10), W, X, match="could not be traced by JAX")
    refused(lambda w, x: loss(w, x) if w[0] > 0 else x[:, 0], W, X, match="could not be traced by JAX")

    class Foreign:
        def __init__(self):
            self.scale = "two"

    foreign = Foreign()
    refused(lambda w, x: loss(w, x) * foreign.scale, W, X, match="model failed on params")


def test_restriction_that_selects_nothing_or_does_not_fit():
    refused(loss, W, X, restrict="layer9/*", match="selects no floating-point parameter")
    refused(loss, W, X, restrict={"w": True}, match="a pytree of masks must be shaped like params")
    refused(
        lambda p, x: loss(p["w"], x), {"w": W}, X, restrict={"w": np.ones(5, bool)}, match=r"shape \(5,\)"
    )


def test_too_little_data_for_the_default_nbeta():
    refused(loss, W, X[:2], match="nbeta is not given and its default n/ln n needs at least 3 examples")


NO_NUMBERS = [True, "3", b"3", [3], np.array([3.0, 4.0]), {}, 1j, 1e300, 10**400, object()]


@pytest.mark.parametrize("name", ["nbeta", "localization", "step_size", "weight_decay"])
@pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_none(name, value):
    refused(loss, W, X, **{name: value}, match=f"{name} must be a finite number")


@pytest.mark.parametrize("value", ["9", [9], None, {}, 9j, 10**30], ids=repr)
def test_what_is_no_count_is_none(value):
    refused(loss, W, X, num_chains=value, match="num_chains must be an integer")


def failing(*_):
    raise RuntimeError("one line\nand another")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_draws": 10**30}, "num_draws must be an integer up to 1,000,000,000"),
        ({"target_rel_se": "2%"}, "target_rel_se must be a number > 0"),
        ({"target_rel_se": None}, "target_rel_se must be a number > 0"),
        ({"key": "seed"}, "key must be an integer of 64 bits or one JAX key"),
        ({"key": None}, "key must be an integer of 64 bits"),
        ({"key": 10**30}, "key must be an integer of 64 bits"),
        ({"key": jax.random.split(jax.random.key(0))}, "key must be an integer of 64 bits or one JAX key"),
        ({"key": np.zeros(2)}, "key must be an integer of 64 bits"),
        ({"linear": "no"}, "linear must be True or False, but 'no' was given"),
        ({"linear": None}, "linear must be True or False"),
        ({"progress": np.ones(2)}, "progress must be True or False"),
        ({"tie": "head"}, "tie must be a dict of leaves by their paths"),
        ({"tie": {"head": 0}}, "tie must be a dict of leaves by their paths"),
        ({"preconditioner": "rms"}, "preconditioner must be an Optax transformation"),
        ({"preconditioner": {}}, "preconditioner must be an Optax transformation"),
        ({"observables": [failing]}, "observables must be a dict of functions"),
        ({"observables": {"norm": "l2"}}, "observables must be a dict of functions"),
        (
            {"observables": {"norm": failing}},
            r"observables\['norm'\] failed on params \(RuntimeError: one line",
        ),
        ({"observables": {"norm": lambda w: {"a": w}}}, r"observables\['norm'\] returned {'a'"),
        ({"observables": {"norm": lambda _: None}}, r"observables\['norm'\] returned None"),
        ({"observables": {"norm": lambda _: jax.random.key(0)}}, r"observables\['norm'\] returned"),
        ({"restrict": failing}, r"restrict is a function that failed on params \(RuntimeError: one line\)"),
        ({"restrict": lambda _: True}, "restrict is a function that failed on params"),
        ({"restrict": lambda *_: np.ones(7, bool)}, r"restrict has a mask of shape \(7,\)"),
        ({"restrict": lambda _, leaf: leaf / 2}, "is not all True or False"),
        ({"restrict": lambda *_: "all"}, "is not all True or False"),
    ],
    ids=lambda case: case[:30] if isinstance(case, str) else "-".join(case),
)
def test_options_of_another_kind(options, match):
    refused(loss, W, X, num_warmup=8, **{"num_draws": 8, **options}, match=match)
