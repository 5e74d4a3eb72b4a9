"""Loaded trees fitted to templates: names normalised, shapes equal, values the checkpoint's."""

from typing import Any, NamedTuple, cast

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.typing import ArrayLike

from lltc.checkpoints import fit_params, open_checkpoint, save_npz, save_safetensors
from lltc.checkpoints.intake.tree import flatten, nest
from lltc.errors import CheckpointError, InputError
from lltc.models.torch_graph.weights import Weights

W, B = np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0])


class Layer(NamedTuple):
    kernel: ArrayLike
    bias: ArrayLike


TEMPLATE = {"layers": (Layer(jnp.zeros((2, 3)), jnp.zeros(2)),)}


@pytest.mark.parametrize(
    "params",
    [
        {"layers": [{"kernel": W, "bias": B}]},
        {"layers": {"0": {"bias": B, "kernel": W}}},
        {"layers": {0: {"bias": B, "kernel": W}}},
        {"params": {"layers": [(Layer(W, B))]}},
        {"state": {"params": {"layers": [{"kernel": W, "bias": B}]}}},
        {"layers/0/kernel": W, "layers/0/bias": B},
        {"layers.0.kernel": W, "layers.0.bias": B},
        {"model": {"layers.0": {"kernel": W, "bias": B}}},
        {"layers": [{"kernel": {"value": W}, "bias": {"value": B}}]},
        {"0": {"kernel": W, "bias": B}},
    ],
)
def test_spellings_of_one_tree_fit(params):
    fitted = fit_params(params, TEMPLATE)
    assert jax.tree.structure(fitted) == jax.tree.structure(TEMPLATE)
    np.testing.assert_array_equal(fitted["layers"][0].kernel, W)
    np.testing.assert_array_equal(fitted["layers"][0].bias, B)


def test_template_may_have_the_outer_level_instead():
    np.testing.assert_array_equal(
        fit_params({"w": W}, {"params": {"w": jnp.zeros((2, 3))}})["params"]["w"], W
    )


def test_one_array_fits_one_array():
    np.testing.assert_array_equal(fit_params({"anything": B}, jnp.zeros(2)), B)


def test_differences_are_shown_side_by_side():
    params = {"layers": [{"kernel": W.T, "offset": B}]}
    with pytest.raises(CheckpointError) as caught:
        fit_params(params, TEMPLATE)
    assert str(caught.value).splitlines() == [
        "params do not fit the template: 1 of 2 arrays of the template are missing, and 1 of 2 arrays of the "
        "checkpoint have no place in the template, and 1 of 2 arrays of the template have another shape.",
        "  checkpoint              template",
        "  -                       layers/0/bias (2,)",
        "  layers/0/kernel (3, 2)  layers/0/kernel (2, 3)",
        "  layers/0/offset (2,)    -",
    ]


def test_sibling_layers_are_never_taken_for_each_other():
    with pytest.raises(CheckpointError, match="1 of 1 arrays of the template are missing"):
        fit_params({"layer1": {"w": W}}, {"params": {"layer2": {"w": jnp.zeros((2, 3))}}})
    with pytest.raises(CheckpointError, match="1 of 1 arrays of the template are missing"):
        fit_params({"layer1": {"w": W}}, {"layer2": {"w": jnp.zeros((2, 3))}})


def test_long_differences_are_cut():
    with pytest.raises(CheckpointError, match=r"… and 40 more$"):
        fit_params({}, {f"w{i}": jnp.zeros(1) for i in range(50)})


def test_dotted_names_that_would_collide_stay_whole():
    params = {"a.b": B, "a": {"b": 2 * B}}
    fitted = fit_params(params, {"a.b": jnp.zeros(2), "a": {"b": jnp.zeros(2)}})
    np.testing.assert_array_equal(fitted["a.b"], B)
    np.testing.assert_array_equal(fitted["a"]["b"], 2 * B)


@pytest.mark.parametrize(
    ("saved", "template", "expected"),
    [
        (np.float32, np.float32, np.float32),
        (np.float64, np.float32, np.float32),
        (ml_dtypes.bfloat16, np.float32, np.float32),
        (np.float32, ml_dtypes.bfloat16, ml_dtypes.bfloat16),
        (np.int32, np.float32, np.float32),
        (np.int32, np.int8, np.int32),
        (np.float32, np.int32, np.float32),
        (np.complex128, np.complex64, np.complex64),
        (np.complex64, np.float32, np.complex64),
    ],
)
def test_types_follow_the_template_only_between_floats(saved, template, expected):
    fitted = fit_params(
        {"w": np.array([1, 2, -3]).astype(saved)}, {"w": jax.ShapeDtypeStruct((3,), template)}
    )
    assert fitted["w"].dtype == expected
    np.testing.assert_array_equal(fitted["w"], np.array([1, 2, -3]).astype(expected))


def test_integers_that_floats_cannot_hold_stay_integers():
    for number in (2**24 + 1, 2**63 - 1):
        fitted = fit_params({"w": np.array([number])}, {"w": jnp.zeros(1)})
        assert fitted["w"].tolist() == [number]
        assert fitted["w"].dtype == np.int64


def test_overflow_is_refused():
    with pytest.raises(CheckpointError, match=r"'w' that overflow the template's float16"):
        fit_params({"w": np.array([1e6])}, {"w": jnp.zeros(1, jnp.float16)})
    assert fit_params({"w": np.array([np.inf])}, {"w": jnp.zeros(1, jnp.float16)})["w"] == np.inf


def test_equinox_keeps_its_functions_and_gives_the_same_outputs(tmp_path):
    model = eqx.nn.MLP(2, 1, 4, 2, key=jax.random.key(0))
    path = save_safetensors(tmp_path / "step_1.safetensors", eqx.filter(model, eqx.is_array))
    restored = open_checkpoint(path).load(eqx.nn.MLP(2, 1, 4, 2, key=jax.random.key(1)))
    x = jnp.array([0.3, -0.7])
    assert restored.activation is model.activation
    np.testing.assert_array_equal(restored(x), model(x))


def test_equinox_numbers_that_are_not_saved_are_kept():
    template = {"dropout": eqx.nn.Dropout(0.25), "w": jnp.zeros(2)}
    fitted = fit_params({"w": B}, template)
    assert fitted["dropout"].p == 0.25
    np.testing.assert_array_equal(fitted["w"], B)
    assert fit_params({"scale": np.float32(3)}, {"scale": 1.0})["scale"] == 3


def test_linen_variables_fit_with_and_without_their_outer_level(tmp_path):
    model = nn.Dense(3)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 2)))
    path = save_npz(tmp_path / "step_1.npz", variables)
    for template in (variables, variables["params"]):
        fitted = open_checkpoint(path).load(template)
        assert jax.tree.structure(fitted) == jax.tree.structure(template)
        jax.tree.map(np.testing.assert_array_equal, fitted, template)


class Network(nn.Module):
    @nn.compact
    def __call__(self, tokens, images):
        words = nn.LayerNorm(name="norm", epsilon=1e-5)(nn.Embed(5, 3, name="words")(tokens))
        pixels = nn.Conv(4, (3, 2), padding="VALID", name="conv")(images)
        return nn.Dense(3, name="square")(nn.Dense(3, name="head")(words)), pixels


def test_networks_of_pytorch_compute_the_same_after_transposing(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {
        "words.weight": (5, 3),
        "norm.weight": (3,),
        "norm.bias": (3,),
        "head.weight": (3, 3),
        "head.bias": (3,),
        "square.weight": (3, 3),
        "square.bias": (3,),
        "conv.weight": (4, 2, 3, 2),
        "conv.bias": (4,),
    }
    saved = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tokens, images = jnp.array([0, 4]), jnp.array(rng.normal(size=(1, 6, 5, 2)), jnp.float32)
    network = Network()
    template = network.init(jax.random.key(0), tokens, images)
    wrapped = {f"module.{name}": array for name, array in saved.items()}
    path = save_safetensors(tmp_path / "step_1.safetensors", wrapped)
    with pytest.raises(InputError, match=r"to be transposed to fit a template; pass template\.$"):
        open_checkpoint(path, transpose="torch").load()
    params = open_checkpoint(path, transpose="torch").load(template)
    words, pixels = cast(Any, network.apply(params, tokens, images))
    normal = saved["words.weight"][[0, 4]]
    normal = (normal - normal.mean(1, keepdims=True)) / np.sqrt(normal.var(1, keepdims=True) + 1e-5)
    expected = normal * saved["norm.weight"] + saved["norm.bias"]
    for layer in ("head", "square"):
        expected = expected @ saved[f"{layer}.weight"].T + saved[f"{layer}.bias"]
    np.testing.assert_allclose(words, expected, rtol=1e-4, atol=1e-5)
    convolved = jax.lax.conv(images.transpose(0, 3, 1, 2), saved["conv.weight"], (1, 1), "VALID")
    np.testing.assert_allclose(
        pixels, convolved.transpose(0, 2, 3, 1) + saved["conv.bias"], rtol=1e-4, atol=1e-5
    )


def test_nothing_is_transposed_unless_asked():
    template = {"fc": {"kernel": np.zeros((3, 2)), "bias": np.zeros(2)}}
    saved = {"fc.weight": W, "fc.bias": B}
    hint = r"pass transpose='torch' if PyTorch saved it\.\n"
    for params, slots in ((saved, template), ({"weight": W}, {"weight": np.zeros((3, 2))})):
        with pytest.raises(CheckpointError, match=hint):
            fit_params(params, slots)
    np.testing.assert_array_equal(fit_params(saved, template, transpose="torch")["fc"]["kernel"], W.T)
    equinox = {"fc": {"weight": np.zeros((2, 3)), "bias": np.zeros(2)}}
    np.testing.assert_array_equal(fit_params(saved, equinox)["fc"]["weight"], W)
    np.testing.assert_array_equal(fit_params({"w": W}, {"w": np.zeros((2, 3))}, transpose="torch")["w"], W)


def test_a_square_weight_beside_one_that_is_not_turned_is_refused():
    saved = {"a.weight": np.ones((2, 6)), "b.weight": np.arange(4.0).reshape(2, 2)}
    template = {"a": {"kernel": np.zeros((2, 6))}, "b": {"kernel": np.zeros((2, 2))}}
    with pytest.raises(
        CheckpointError, match=r"'a/kernel' fits the template only as it is.*'b/kernel', which fits"
    ):
        fit_params(saved, template, transpose="torch")


def test_pythons_numbers_stay_so():
    filled = fit_params({"p": np.array(0.25), "n": np.array(3), "w": W}, {"p": 0.5, "n": 2, "w": W})
    assert (filled["p"], filled["n"], type(filled["p"]), type(filled["n"])) == (0.25, 3, float, int)


def test_other_words_for_transpose_are_refused():
    with pytest.raises(InputError, match=r"transpose is True, but must be 'torch' or None; pass one of"):
        fit_params({"w": W}, {"w": W}, transpose=True)  # pyright: ignore[reportArgumentType]


def test_errors_stay_short():
    with pytest.raises(CheckpointError) as caught:
        fit_params({f"v{i}": B for i in range(50)}, {f"w{i}": B for i in range(50)})
    first, *table = str(caught.value).splitlines()
    assert first.endswith("50 of 50 arrays of the checkpoint have no place in the template.")
    assert len(table) == 12


names = st.text(st.characters(codec="ascii", exclude_characters="/.", exclude_categories=["Cc"]), min_size=1)
arrays = st.lists(st.floats(width=32, allow_nan=False), max_size=4).map(lambda v: np.array(v, np.float32))
trees = st.recursive(
    arrays,
    lambda child: (
        st.dictionaries(names, child, min_size=1, max_size=3) | st.lists(child, min_size=1, max_size=3)
    ),
)


@given(tree=trees)
def test_flat_names_fit_the_tree_they_came_from(tree):
    named = flatten(tree)
    for spelling in (named, nest(named, "/"), {name.replace("/", "."): leaf for name, leaf in named.items()}):
        fitted = fit_params(spelling, tree)
        assert jax.tree.structure(fitted) == jax.tree.structure(tree)
        jax.tree.map(np.testing.assert_array_equal, fitted, tree)


def test_a_float_called_as_flax_calls_its_random_streams_is_read_in_every_spelling():
    tree, saved = [{"rngs": np.zeros(2, np.float32)}], np.ones(2, np.float32)
    for spelling in ({"0/rngs": saved}, {"0.rngs": saved}, {"0": {"rngs": saved}}):
        np.testing.assert_array_equal(fit_params(spelling, tree)[0]["rngs"], saved)


@pytest.mark.parametrize(
    "spelling", [{"w": W, "rngs/count": np.uint32(3)}, {"w": W, "rngs": {"count": np.uint32(3)}}]
)
def test_counts_of_random_streams_are_left_out_in_every_spelling(spelling):
    np.testing.assert_array_equal(fit_params(spelling, {"w": W})["w"], W)


def test_a_file_that_does_not_fit_is_named(tmp_path):
    path = save_npz(tmp_path / "step_1.npz", {"w": W})
    with pytest.raises(CheckpointError, match=r"step_1\.npz': params do not fit the template: 1 of 1 arrays"):
        open_checkpoint(path).load({"w": jnp.zeros(3)})


def test_an_array_in_two_spellings_is_refused():
    template = Weights.nest({"h.w": W}, spelled={"w": "h.w"})
    np.testing.assert_array_equal(fit_params({"w": W}, template)["h"]["w"], W)
    with pytest.raises(
        CheckpointError, match=r"it holds 'h/w' twice, as '(h/)?w' too, but one of them is wanted"
    ):
        fit_params({"w": W, "h": {"w": W + 1}}, template)
