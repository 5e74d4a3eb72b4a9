"""Operators where PyTorch's rule is not NumPy's or JAX's: each against the rule written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lltc.errors import InputError
from lltc.models.torch_graph.evaluate import evaluate
from lltc.models.torch_graph.ops import find
from lltc.models.torch_graph.record import Graph, Input, Node, Ref

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(3, 3, 3)), RNG.normal(size=(3, 3, 3))


def call(name: str, *args, **kwargs):
    operator = find(f"aten.{name}")
    assert operator is not None
    return operator(*args, **kwargs)


def test_a_norm_over_all_is_asked_for_by_minus_one():
    v, g = jnp.asarray(A[0]), jnp.float32(2)
    weight = call("_weight_norm.default", v, g, -1)
    np.testing.assert_allclose(weight, 2 * A[0] / np.linalg.norm(A[0]), rtol=1e-5)
    rows = call("_weight_norm.default", v, jnp.ones((3, 1)), 0)
    np.testing.assert_allclose(rows, A[0] / np.linalg.norm(A[0], axis=1, keepdims=True), rtol=1e-5)


def test_systems_are_solved_from_either_side_and_for_vectors():
    a, b = jnp.asarray(A), jnp.asarray(B)
    np.testing.assert_allclose(call("linalg_solve.default", a, b, left=False) @ a, B, atol=1e-3)
    np.testing.assert_allclose(a @ call("linalg_solve.default", a, b), B, atol=1e-3)
    vectors = call("linalg_solve.default", a, b[0])
    np.testing.assert_allclose(jnp.einsum("bij,bj->bi", a, vectors), B[0], atol=1e-3)


def test_cross_products_are_along_the_first_axis_of_three():
    x, y = jnp.asarray(A[0]), jnp.asarray(B[0])
    np.testing.assert_allclose(call("cross.default", x, y), np.cross(A[0], B[0], axis=0), atol=1e-5)
    np.testing.assert_allclose(call("linalg_cross.default", x, y), np.cross(A[0], B[0], axis=1), atol=1e-5)
    columns = call("cross.default", x[:, :2], y[:, :2])
    np.testing.assert_allclose(columns, np.cross(A[0, :, :2], B[0, :, :2], axis=0), atol=1e-5)


def test_quotients_of_large_integers_are_cut_exactly():
    x = jnp.array([2**30 + 1, -(2**30) - 1, 7, -7])
    cut = call("div.Tensor_mode", x, jnp.array([1, 1, 2, 2]), rounding_mode="trunc")
    assert cut.tolist() == [2**30 + 1, -(2**30) - 1, 3, -3]
    assert call("div.Tensor_mode", jnp.array([-3.5]), 2, rounding_mode="trunc").tolist() == [-1.0]


@pytest.mark.parametrize(
    ("values", "least"),
    [
        (np.array([3, 0, 255], np.uint8), [0, 3]),
        (np.array([-(2**31), 5, 1], np.int32), [-(2**31), 1]),
        (np.array([0.5, -1.0, 2.0], np.float32), [-1.0, 0.5]),
    ],
    ids=["bytes", "the least integer", "floats"],
)
def test_the_smallest_of_every_type_are_found(values, least):
    chosen, places = call("topk.default", jnp.asarray(values), 2, largest=False)
    assert chosen.tolist() == least
    assert values[places].tolist() == least


def test_norms_of_a_negative_order_feel_zeros():
    assert float(call("linalg_vector_norm.default", jnp.array([1.0, 0.0]), -1)) == 0
    assert float(call("linalg_vector_norm.default", jnp.array([1.0, 2.0]), -1)) == pytest.approx(1 / 1.5)


def test_running_sums_and_products_of_integers_are_wide():
    for kind in (jnp.int8, jnp.uint8):
        assert call("cumsum.default", jnp.full(3, 100, kind), 0).tolist() == [100, 200, 300]
        assert call("cumprod.default", jnp.full(3, 20, kind), 0).tolist() == [20, 400, 8000]
        assert call("sum.default", jnp.full(3, 100, kind)).tolist() == 300
        assert call("prod.default", jnp.full(3, 20, kind)).tolist() == 8000
    assert call("cumsum.default", jnp.array([True, True]), 0).tolist() == [1, 2]


def test_powers_that_are_floats_are_taken_of_floats():
    powers = call("float_power.Tensor_Tensor", jnp.array([2, 100]), jnp.array([-1, 8]))
    np.testing.assert_allclose(powers, [0.5, 1e16], rtol=1e-5)


def test_what_is_no_number_is_below_no_threshold():
    assert jnp.isnan(call("threshold.default", jnp.array([jnp.nan]), 0.0, 1.0)).all()
    assert call("threshold.default", jnp.array([0.0, 0.5]), 0.0, 1.0).tolist() == [1.0, 0.5]


@pytest.mark.parametrize("name", ["fmax.default", "fmin.default"])
def test_the_first_of_two_that_are_equal_has_the_slope(name):
    slopes = jax.grad(lambda x, y: call(name, x, y), argnums=(0, 1))
    assert slopes(1.0, 1.0) == (1.0, 0.0)
    assert slopes(1.0, jnp.nan) == slopes(0.0, jnp.nan) == (1.0, 0.0)
    assert slopes(jnp.nan, 1.0) == (0.0, 1.0)


def test_the_nearest_entry_is_found_in_thirty_two_bits():
    """Half-way between both entries, where the rounding decides."""
    nearest = lambda count: call("_upsample_nearest_exact1d.default", jnp.arange(2.0)[None, None], [count])
    assert [float(nearest(41)[0, 0, 20]), float(nearest(49)[0, 0, 24])] == [0.0, 1.0]


# Of bfloat16 every processor makes programs; a product of two has an error of up to 0.4 %.
COARSE = jnp.asarray(RNG.normal(size=(1, 64)), jnp.bfloat16)
EXACT = np.asarray(COARSE, np.float64)
CENTERED = EXACT - EXACT.mean()


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("layer_norm.default", ([64],), CENTERED / np.sqrt(EXACT.var() + 1e-5)),
        ("group_norm.default", (1,), CENTERED / np.sqrt(EXACT.var() + 1e-5)),
        ("rms_norm.default", ([64],), EXACT / np.sqrt(np.mean(EXACT**2))),
        ("batch_norm.default", (None, None, *jnp.zeros((2, 64), jnp.bfloat16)), EXACT / 1e-5**0.5),
        ("var.correction", ([1],), EXACT.var(ddof=1)),
        ("std.correction", ([1],), EXACT.std(ddof=1)),
        ("linalg_vector_norm.default", (), np.linalg.norm(EXACT)),
    ],
)
def test_sixteen_bits_are_summed_in_thirty_two(name, args, wanted):
    np.testing.assert_allclose(call(name, COARSE, *args), wanted, rtol=1e-5, atol=1e-6)


def test_the_safe_softmax_of_a_row_masked_altogether_is_zero():
    rows = call("_safe_softmax.default", jnp.array([[-jnp.inf, -jnp.inf], [0.0, 0.0]]), -1)
    assert rows.tolist() == [[0, 0], [0.5, 0.5]]


def test_a_smooth_loss_without_a_smooth_part_is_the_absolute_one():
    assert call("smooth_l1_loss.default", jnp.array([2.0]), jnp.array([-1.0]), 0, 0.0).tolist() == [3.0]


@pytest.mark.parametrize(
    "read",
    [
        lambda x, at: call("gather.default", x, 0, at),
        lambda x, at: call("index_select.default", x, 0, at),
        lambda x, at: call("take_along_dim.default", x, at, 0),
        lambda x, at: call("take_along_dim.default", x, at),
        lambda x, at: call("nll_loss.default", x[None], at[:1], None, 0),
        lambda x, at: call("cross_entropy_loss.default", x[None], at[:1], None, 0),
        lambda x, at: call("embedding.default", x[:, None], at),
    ],
    ids=["gather", "index_select", "along", "along all", "nll", "cross entropy", "embedding"],
)
@pytest.mark.parametrize("index", [-1, 3])
def test_indices_that_pytorch_stops_at_give_no_number(read, index):
    assert jnp.isnan(read(jnp.arange(3.0), jnp.array([index, 0]))).any()
    assert jnp.isfinite(read(jnp.arange(3.0), jnp.array([2, 0]))).all()


WRITERS = {
    "scatter": lambda x, at: call("scatter.src", x, 0, at, jnp.ones(2)),
    "scatter_add": lambda x, at: call("scatter_add.default", x, 0, at, jnp.ones(2)),
    "index_add": lambda x, at: call("index_add.default", x, 0, at, jnp.ones(2), alpha=2),
    "index_copy": lambda x, at: call("index_copy.default", x, 0, at, jnp.ones(2)),
    "index_fill": lambda x, at: call("index_fill.int_Scalar", x, 0, at, 1.0),
    "index_put": lambda x, at: call("index_put.default", x, [at], jnp.ones(2)),
    "index_put two": lambda x, at: call(
        "index_put.default", x[:, None], [at, jnp.array(0)], jnp.ones(2), True
    ),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("index", [-4, -1, 3])
def test_nothing_is_written_where_pytorch_stops(write, index):
    """It counts from the end in index_fill and index_put alone."""
    stops = index != -1 or write not in (*WRITERS.values(),)[-3:]
    assert jnp.isnan(write(jnp.arange(3.0), jnp.array([index, 0]))).any() == stops
    assert jnp.isfinite(write(jnp.arange(3.0), jnp.array([2, 0]))).all()


def test_integers_are_not_written_where_pytorch_stops():
    at, ones = jnp.array([-1, 0, 3]), jnp.ones(3, int)
    assert call("scatter_add.default", jnp.arange(3), 0, at, ones).tolist() == [1, 1, 2]
    assert call("index_copy.default", jnp.arange(3), 0, at, ones).tolist() == [1, 1, 2]


def test_bytes_are_masks():
    with pytest.raises(InputError, match="a boolean mask"):
        call("index.Tensor", jnp.arange(3.0), [jnp.array([1, 0, 1], jnp.uint8)])


def graph(dtype: str, constant: np.ndarray) -> Graph:
    nodes = (Node("aten.add.Tensor", (Ref("x"), Ref("c")), {}, ("y",), (dtype,), many=False, line=""),)
    return Graph(nodes, {}, {"c": constant}, {"x": Input("x", (2,), dtype)}, ("x",), Ref("y"), (1, None))


def test_inputs_are_not_cut_off():
    ones = np.ones(2, np.int64)
    assert evaluate(graph("int64", ones), {}, (np.array([1, 2]),), {}).tolist() == [2, 3]
    with pytest.raises(InputError, match="are float32, where the graph was exported for int64"):
        evaluate(graph("int64", ones), {}, (jnp.array([0.5, 1.5]),), {})
    with pytest.raises(InputError, match="are complex64"):
        evaluate(graph("float32", ones), {}, (jnp.array([1j, 2j]),), {})


def test_constants_that_jax_cannot_hold_are_refused():
    extremes = np.array([2**63 - 1, -(2**63)])
    assert evaluate(graph("int64", extremes), {}, (np.zeros(2, int),), {}).tolist() == [2**31 - 1, -(2**31)]
    with pytest.raises(InputError, match="holds integers up to 1099511627776"):
        evaluate(graph("int64", np.array([2**40, 1])), {}, (np.zeros(2, int),), {})
