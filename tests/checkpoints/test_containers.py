"""What `Saver` wrote comes back as it was, without a template; a file makes nothing but pytrees."""

import dataclasses
import json
import sys
import types
from collections import OrderedDict
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import struct
from flax.core import FrozenDict
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from lltc.checkpoints import Saver, open_checkpoint, save_npz, save_safetensors
from lltc.errors import CheckpointError, InputError


class Layer(NamedTuple):
    kernel: Any
    bias: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Block:
    layers: Any
    width: int = dataclasses.field(default=3, metadata={"static": True})


@struct.dataclass
class Head:
    weight: Any
    name: str = struct.field(pytree_node=False, default="head")


class Linear(eqx.Module):
    weight: Any
    bias: Any


def assert_same(saved, loaded):
    """The same containers of the same types, keys in the same order, arrays bit for bit."""
    if hasattr(saved, "dtype"):
        assert isinstance(loaded, np.ndarray)
        assert (loaded.dtype, loaded.shape) == (saved.dtype, saved.shape)
        assert loaded.tobytes() == np.asarray(saved).tobytes()
        return
    assert type(loaded) is type(saved)
    if isinstance(saved, dict | FrozenDict):
        assert [(type(key), key) for key in loaded] == [(type(key), key) for key in saved]
        for key in saved:
            assert_same(saved[key], loaded[key])
    elif isinstance(saved, list | tuple):
        assert len(loaded) == len(saved)
        for one, other in zip(saved, loaded, strict=True):
            assert_same(one, other)
    elif dataclasses.is_dataclass(saved):
        for field in dataclasses.fields(saved):
            assert_same(getattr(saved, field.name), getattr(loaded, field.name))
    else:
        assert repr(saved) == repr(loaded)


TREES = {
    "lists": {"layers": [{"w": np.ones(2)}, {"w": np.zeros((2, 1), np.int8)}]},
    "tuples": ((np.ones(2), [np.zeros(1)]),),
    "alone": np.arange(3.0),
    "number": 0.1,
    "numbers": [True, 7, -0.0, float("inf"), np.ones(1)],
    "none": {"w": np.ones(2), "b": None, "empty": [{}, [], ()]},
    "named": {"a": Layer(np.ones(2), None), "b": Layer(kernel=[np.ones(1)], bias=())},
    "dataclass": [Block((np.ones(1), np.zeros(2)), width=7), Head(np.ones(2), name="out")],
    "module": Linear(np.ones((2, 2)), None),
    "frozen": FrozenDict({"dense": {"kernel": np.ones(2)}}),
    "ordered": OrderedDict([("b", np.ones(1)), ("a", np.zeros(2))]),
    "keys": {"ints": {2: np.ones(1), -1: np.zeros(1)}, "pairs": {(0, "a"): np.ones(3)}},
    "wrapped": {"params": {"w": np.ones(2)}},
    "averaged": {"net": {"w": np.ones(2)}, "ema_net": {"w": np.zeros(2)}},
    "clash": {"a/b": np.ones(1), "a": {"b": np.ones(2)}, "a.b": np.zeros(3)},
    "odd": {"__lltc__": np.ones(1), "__metadata__": np.ones(2), "x\0y": np.ones(3), "": np.ones(4)},
    "narrow": {"w": jnp.ones((2, 3), jnp.bfloat16), "x": np.float32(3), "y": np.ones(2, ">f4")},
}


@pytest.mark.parametrize("fmt", ["npz", "safetensors", "orbax"])
@pytest.mark.parametrize("name", TREES)
def test_what_was_saved_comes_back(tmp_path, name, fmt):
    path = Saver(tmp_path, [1], format=fmt)(1, TREES[name])
    assert path is not None
    loaded = open_checkpoint(path).load()
    if name == "narrow" and fmt != "npz":
        # These formats know one order of bytes.
        loaded["y"] = loaded["y"].astype(">f4")
    assert_same(TREES[name], loaded)


def dtype_arrays(kinds):
    return st.tuples(st.sampled_from(kinds), st.lists(st.integers(0, 1), max_size=3)).map(
        lambda drawn: np.array(drawn[1]).astype(drawn[0])
    )


ARRAYS = dtype_arrays(
    [np.float32, np.float16, ml_dtypes.bfloat16, np.int64, np.uint8, np.bool_, np.complex64]
)
NUMBERS = st.floats() | st.integers(-(2**63), 2**63 - 1) | st.booleans()
WORDS = st.text(min_size=0, max_size=4)


def containers(child):
    several = st.lists(child, max_size=3)
    return st.one_of(
        several,
        several.map(tuple),
        st.dictionaries(WORDS, child, max_size=3),
        st.dictionaries(st.integers(), child, max_size=3),
        st.dictionaries(st.tuples(st.integers(0, 9), WORDS), child, max_size=2),
        st.dictionaries(WORDS, child, max_size=3).map(OrderedDict),
        st.builds(Layer, child, child),
        st.builds(Block, child, width=st.integers()),
        st.builds(Head, child, name=WORDS),
    )


PYTREES = st.recursive(ARRAYS | NUMBERS | st.none(), containers, max_leaves=12)


@pytest.mark.parametrize("save", [save_npz, save_safetensors])
def test_saving_and_loading_is_the_identity(save, tmp_path_factory):
    path = tmp_path_factory.mktemp("law") / f"step_1.{save.__name__.removeprefix('save_')}"

    @settings(deadline=None, max_examples=50)
    @given(tree=PYTREES.filter(jax.tree.leaves), beside=ARRAYS)
    def law(tree, beside):
        for saved in (tree, {"w": beside, "rest": tree}):
            assert_same(saved, open_checkpoint(save(path, saved)).load())

    law()


def test_a_template_and_params_key_find_what_was_saved_in_any_container(tmp_path):
    saved = {"net": [Layer(np.ones(2), np.zeros(1)), Block((np.full(3, 2.0),))]}
    path = save_npz(tmp_path / "step_1.npz", saved)
    template = {"net": {"0": {"kernel": jnp.zeros(2), "bias": jnp.zeros(1)}, "1": {"layers": [jnp.zeros(3)]}}}
    np.testing.assert_array_equal(open_checkpoint(path).load(template)["net"]["1"]["layers"][0], [2, 2, 2])
    assert_same(saved["net"][0], open_checkpoint(path, "net/0").load())
    assert_same(saved["net"][1].layers[0], open_checkpoint(path, "net/1/layers/0").load())


def test_files_without_a_note_are_read_as_dicts(tmp_path):
    tag = np.array(json.dumps({"separator": "/", "names": ["layers/0", "a.b"], "dtypes": {}}))
    np.savez(tmp_path / "step_1.npz", **{"__lltc__": tag, "layers/0": np.ones(2), "a.b": np.zeros(1)})
    loaded = open_checkpoint(tmp_path / "step_1.npz").load()
    assert_same({"layers": {"0": np.ones(2)}, "a.b": np.zeros(1)}, loaded)
    arrays = {"layers/0": np.ones(2), "a.b": np.zeros(1)}
    save_file(arrays, tmp_path / "step_1.safetensors", metadata={"lltc.separator": "/"})
    loaded = open_checkpoint(tmp_path / "step_1.safetensors").load()
    assert loaded.keys() == {"layers", "a.b"}
    assert loaded["layers"].keys() == {"0"}


def test_of_a_training_state_that_was_saved_come_the_params(tmp_path):
    state = {"params": [np.ones(2)], "opt_state": (np.zeros(2),), "step": 7}
    assert_same(state["params"], open_checkpoint(save_npz(tmp_path / "step_1.npz", state)).load())


def test_a_class_that_is_not_imported_is_named_and_a_template_does_without_it(tmp_path, monkeypatch):
    module: Any = types.ModuleType("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    module.Layer = type("Layer", (Layer,), {"__module__": "elsewhere", "_fields": Layer._fields})
    saved = [module.Layer(np.ones(2), np.zeros(1))]
    path = save_npz(tmp_path / "step_1.npz", saved)
    assert_same(saved, open_checkpoint(path).load())
    monkeypatch.delitem(sys.modules, "elsewhere")
    message = (
        "params were saved in a container of the class elsewhere.Layer, which is not imported here; pass "
        "template, the model or its params, or import its module first."
    )
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path).load()
    assert str(caught.value) == f"Checkpoint '{path}': {message}"
    loaded = open_checkpoint(path).load([Layer(jnp.zeros(2), jnp.zeros(1))])
    np.testing.assert_array_equal(loaded[0].kernel, [1, 1])


def test_a_container_that_cannot_be_made_from_a_file_wants_its_template(tmp_path):
    network = eqx.filter(eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0)), eqx.is_array)
    path = save_npz(tmp_path / "step_1.npz", network)
    with pytest.raises(
        CheckpointError, match=r"equinox\.nn\._mlp\.MLP, which cannot be made from a file; pass"
    ):
        open_checkpoint(path).load()
    loaded = open_checkpoint(path).load(network)
    jax.tree.map(np.testing.assert_array_equal, loaded, network)


@dataclasses.dataclass
class Trap:
    w: Any

    def __post_init__(self):
        raise AssertionError("a file made a class that is no pytree")


@pytest.mark.parametrize(
    "note",
    [
        {"kind": "dataclass", "class": [__name__, "Trap"], "keys": [["str", "w"]], "static": {}},
        {"kind": "dataclass", "class": [__name__, "Block"], "keys": [["str", "w"]], "static": {}},
        {"kind": "namedtuple", "class": ["subprocess", "Popen"], "keys": [["str", "w"]]},
        {"kind": "namedtuple", "class": ["antigravity", "Popen"], "keys": [["str", "w"]]},
        {"kind": "namedtuple", "class": [3, None], "keys": [["str", "w"]]},
        {"kind": "list", "keys": []},
        {"kind": "dict", "keys": [["tuple", [["list", []]]]]},
        {"kind": "float", "name": "w", "value": "1"},
        {"kind": "gone", "keys": [["str", "w"]]},
        {},
    ],
)
def test_a_note_that_someone_wrote_makes_nothing_but_pytrees(tmp_path, note):
    note = {"children": ["w"]} | note
    path = tmp_path / "step_1.safetensors"
    save_file({"w": np.ones(1)}, path, metadata={"lltc.tree": json.dumps(note)})
    with pytest.raises(CheckpointError, match=r"^C.*step_1\.safetensors'[^\n]*\.$"):
        open_checkpoint(path).load()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "note", ["v", None, {"kind": "list", "keys": [["int", 0]] * 2, "children": ["w", "w"]}]
)
def test_a_note_of_other_arrays_is_refused(tmp_path, note):
    path = tmp_path / "step_1.safetensors"
    save_file({"w": np.ones(1)}, path, metadata={"lltc.tree": json.dumps(note)})
    with pytest.raises(CheckpointError, match=r"^Cannot read checkpoint '.*step_1\.safetensors'"):
        open_checkpoint(path).load()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"w": np.ones(1), "rng": jax.random.key(0)},
            "params holds 'rng', which is a JAX random key; leave it",
        ),
        (
            {"w": [1.0, "relu"]},
            "params holds 'w/1', which is not an array of numbers; leave it out of params.",
        ),
        ({"w": 2**70}, "params holds 'w', which is not an array of numbers; leave it out of params."),
        ({"w": np.ma.masked_array([1.0], [True])}, "params holds 'w', which is not an array of numbers"),
        ({"w": {}}, "params holds no array, so nothing would be saved; pass the params of a model."),
        ({"w": 1.0, 2: 3.0}, "params is no pytree that JAX can walk"),
    ],
)
@pytest.mark.parametrize("fmt", ["npz", "orbax"])
def test_what_cannot_be_saved_is_told_in_one_sentence(tmp_path, params, message, fmt):
    saver = Saver(tmp_path, [1], format=fmt)
    with pytest.raises(InputError) as caught:
        saver(1, params)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_orbax_has_no_empty_arrays(tmp_path):
    saver = Saver(tmp_path, [1], format="orbax")
    with pytest.raises(InputError, match=r"^params holds 'w' without numbers, which Orbax cannot store;"):
        saver(1, {"w": np.zeros((0, 3)), "v": np.ones(1)})
