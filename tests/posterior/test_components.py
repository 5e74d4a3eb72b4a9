"""Naming parts of params: what each way of naming selects, what is refused, and what is shown beforehand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lltc import InputError, estimate_llc
from lltc.posterior.components import list_components, name_components, select
from lltc.toys.values.tempered import quadratic_llc
from tests.problems import DUMMY, constant


def transformer(layers: int = 2):
    """Return params shaped like those of a small transformer; q is (model, head, width)."""
    block = lambda: {
        "attn": {"q": np.zeros((8, 4, 2)), "o": np.zeros((4, 2, 8))},
        "mlp": {"kernel": np.zeros((8, 16)), "bias": np.zeros(16)},
    }
    return {"layers": [block() for _ in range(layers)], "head": np.zeros((8, 5)), "step": np.zeros((), int)}


def counts(params, pattern):
    return {row.path: row.selected for row in list_components(params, pattern) if row.selected}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("head", {"head": 40}),
        ("layers/*/attn/q", {"layers/0/attn/q": 64, "layers/1/attn/q": 64}),
        ("layers/0/mlp/*", {"layers/0/mlp/bias": 16, "layers/0/mlp/kernel": 128}),
        ("layers/*/attn/q[:,3]", {"layers/0/attn/q": 16, "layers/1/attn/q": 16}),
        ("layers/1/attn/o[2]", {"layers/1/attn/o": 16}),
        ("layers/0/mlp/*[...,:4]", {"layers/0/mlp/bias": 4, "layers/0/mlp/kernel": 32}),
        ("head[-1, ::2]", {"head": 3}),
        ("head[7]", {"head": 5}),
        ("layers/[01]/attn/q[0:2, -1, 1]", {"layers/0/attn/q": 2, "layers/1/attn/q": 2}),
        (["head[0]", "head[:,0]", "layers/0/mlp/bias"], {"layers/0/mlp/bias": 16, "head": 12}),
        (
            lambda path, leaf: "attn" in path and leaf.shape[0] == 4,
            {f"layers/{i}/attn/o": 64 for i in (0, 1)},
        ),
    ],
)
def test_what_a_pattern_selects(pattern, expected):
    assert counts(transformer(), pattern) == expected


INDICES = st.one_of(
    st.integers(-3, 2),
    st.builds(slice, *[st.one_of(st.none(), st.integers(-4, 4))] * 2, st.sampled_from([None, 1, 2, -1])),
)


def written(index) -> str:
    if isinstance(index, int):
        return str(index)
    return ":".join("" if part is None else str(part) for part in (index.start, index.stop, index.step))


@given(st.lists(INDICES, min_size=1, max_size=3))
def test_brackets_are_numpys_basic_indexing(index):
    leaf = np.zeros((3, 3, 3))
    leaf[tuple(index)] = 1
    pattern = f"w[{', '.join(map(written, index))}]"
    if not leaf.any():
        with pytest.raises(InputError, match="selects no floating-point parameter"):
            select({"w": leaf}, pattern)
        return
    (mask,) = select({"w": leaf}, pattern)
    np.testing.assert_array_equal(np.broadcast_to(mask, leaf.shape), leaf == 1)


def test_heads_split_a_leaf_into_disjoint_parts_that_cover_it():
    masks = [np.asarray(select({"q": np.zeros((8, 4, 2))}, f"q[:,{head}]")[0]) for head in range(4)]
    assert np.sum(masks, axis=0).tolist() == np.ones((8, 4, 2)).tolist()


def test_an_array_by_itself_has_the_empty_path():
    assert counts(np.zeros((3, 4)), "[1]") == {"": 4}
    assert counts(np.zeros((3, 4)), "*[:,:2]") == {"": 6}
    assert "(root)" in repr(list_components(np.zeros(3)))


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("layers/*/atn/*", r"layers/\*/atn/\*.*closest are 'layers/./attn/"),
        ("layers/0", r"no path of theirs matches 'layers/0'.*'layers/0/attn/o', 'layers/0/attn/q', "),
        ("mlp", r"closest are 'layers/0/mlp/bias', .* and 1 more"),
        (["head", "haed"], r"'haed' selects no .*'head'"),
        ("hed[0]", r"matches 'hed'; the closest are 'head'"),
        ("step", "selects no floating-point parameter"),
        ("head[8]", r"cannot take \[8\] of head, which has the shape \(8, 5\)"),
        ("head[0,0,0]", r"cannot take \[0,0,0\] of head"),
        ("head[1:2:0]", r"cannot take \[1:2:0\] of head"),
        ("layers/*/mlp/*[:,3]", r"cannot take \[:,3\] of layers/0/mlp/bias, which has the shape \(16,\)"),
        ("head[5:5]", "selects no floating-point parameter"),
        ("[0]", r"no path of theirs matches ''"),
    ],
)
def test_a_pattern_that_fits_nothing_is_refused_with_what_is_near(pattern, said):
    with pytest.raises(InputError, match=said):
        list_components(transformer(), pattern)


def test_the_preview_counts_and_prints():
    found = list_components(transformer(), ["layers/*/attn/q[:,3]", "head"])
    assert (found.selected, found.size) == (72, 2 * 272 + 40 + 1)
    assert [row.path for row in found][-2:] == ["layers/1/mlp/kernel", "step"]
    lines = repr(found).splitlines()
    assert lines[1].split() == ["head", "(8,", "5)", "40"]
    assert lines[2].split() == ["layers/0/attn/q", "(8,", "4,", "2)", "16", "of", "64"]
    assert lines[-1] == "72 of 585 parameters in 3 of 10 leaves"
    assert list_components(transformer()).selected == 584


def test_a_long_preview_is_cut():
    lines = repr(list_components({f"w{i:03}": np.zeros(2) for i in range(100)})).splitlines()
    assert lines[-2:] == ["… and 60 more", "200 of 200 parameters in 100 of 100 leaves"]
    assert len(lines) == 43


def test_names_of_components():
    assert name_components(["a/*", "b"]) == {"a/*": "a/*", "b": "b"}
    assert name_components("a/*") == {"a/*": "a/*"}
    assert name_components({"x": ["a", "b"]}) == {"x": ["a", "b"]}
    nothings: list[Any] = [{}, [], None, 3, [1, 2], {1: "a"}]
    for nothing in nothings:
        with pytest.raises(InputError, match="components must be a mapping of names to patterns"):
            name_components(nothing)


def test_a_sliced_head_moves_alone():
    scales = jnp.array([1.0, 10.0, 100.0])
    loss = constant(lambda p: 0.5 * jnp.sum(scales * p["q"] ** 2) + jnp.sum(p["o"] ** 2))
    params = {"q": jnp.zeros((4, 3)), "o": jnp.zeros(5)}
    found = estimate_llc(loss, params, DUMMY, restrict="q[:,1]", nbeta=10, localization=1, progress=False)
    assert found.num_params == 4
    exact = quadratic_llc(np.full(4, 10.0), nbeta=10, localization=1)
    assert abs(found.llc - exact) < 3.5 * found.llc_se
    assert found.llc_se < 0.05 * exact


def test_masks_may_be_jax_arrays():
    mask = jax.tree.map(lambda leaf: jnp.arange(leaf.size).reshape(leaf.shape) % 2 == 0, {"w": jnp.zeros(5)})
    assert counts({"w": jnp.zeros(5)}, mask) == {"w": 3}


@jax.tree_util.register_pytree_with_keys_class
class CallableParams:
    """Params that are also a function, as Equinox modules are."""

    def __init__(self, w, b):
        self.w, self.b = w, b

    def __call__(self, x):
        return self.w * x + self.b

    def tree_flatten_with_keys(self):
        return [(jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in ("w", "b")], None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def test_masks_may_be_a_pytree_that_can_be_called():
    params = CallableParams(np.zeros(2), np.zeros(3))
    assert counts(params, CallableParams(False, np.array([True, False, True]))) == {"b": 2}
    assert counts(params, lambda path, _: path == "w") == {"w": 2}
