"""Arrays come through as they are, or one sentence says why not: nothing wraps or overflows unsaid."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lltc
from lltc import InputError
from lltc.posterior.arrays import as_array
from lltc.posterior.data import as_data

NUMBERS = st.sampled_from(
    ["?", "i1", "u1", ">i2", "<u2", ">i4", "u4", "i8", ">u8", "f2", ">f4", "f8", ">f8", "c8", "c16"]
)


@given(hnp.arrays(NUMBERS, st.integers(0, 5)))
def test_values_are_kept_or_refused(array):
    """What comes out equals what went in, to the rounding of the type that JAX has for it."""
    try:
        taken = as_array("data", array)
    except InputError:
        with np.errstate(over="ignore", invalid="ignore"):
            assert not np.array_equal(
                array.astype(jax.dtypes.canonicalize_dtype(array.dtype.newbyteorder("="))), array
            )
        return
    assert jnp.asarray(taken).dtype == taken.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(taken, array.astype(taken.dtype))
    if array.dtype.kind in "iub":
        np.testing.assert_array_equal(np.asarray(taken).astype(object), array.astype(object))


@pytest.mark.parametrize(
    ("leaf", "said"),
    [
        (np.array([2**40, 1]), "holds integers from 1 to 1099511627776, but JAX keeps int32 here"),
        (np.array([2**63], np.uint64), "holds integers"),
        (np.array([1e300]), r"holds numbers up to 1e\+300, beyond float32"),
        (np.array([1e300 + 1j]), r"holds numbers up to 1e\+300, beyond complex64"),
        (np.array(["a"]), "holds values of type <U1"),
        (np.array([b"a"]), r"holds values of type \|S1"),
        (np.array([None]), "holds values of type object"),
        (np.array(["2020"], "M8[s]"), r"holds values of type datetime64\[s\]"),
        (np.ma.masked_array([1.0], [True]), "is a masked array"),
        ("text", "holds values of type <U4"),
        (object(), "holds a object"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(leaf, said):
    with jax.enable_x64(False), pytest.raises(InputError, match=f"^data {said}"):
        as_array("data", leaf)


def test_a_deleted_array_and_a_traced_one_are_refused():
    dead = jnp.ones(3)
    dead.delete()
    with pytest.raises(InputError, match="deleted or donated"):
        as_array("params", dead)
    data = np.zeros((9, 2), np.float32)
    loss = lambda w, x: 0.5 * (x @ w) ** 2
    with pytest.raises(InputError, match="cannot be called under jit"):
        jax.jit(lambda w: lltc.estimate_llc(loss, w, data).llc)(jnp.ones(2))


def test_numbers_of_other_libraries_and_byte_orders_are_taken():
    assert as_array("params", jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16
    assert as_array("params", np.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16
    assert as_array("params", np.ones(2, np.longdouble)).dtype == jnp.result_type(float)
    assert as_array("params", np.array([1.5], ">f8")).tolist() == [1.5]


class Broken:
    """A source that fails."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("the disk is gone")


class Frame(Broken):
    """Something like a table of pandas."""

    iloc = None


def test_sources_that_fail_and_tables_are_one_sentence():
    with pytest.raises(
        InputError, match=r"data is a Broken that failed to give examples \(RuntimeError: the disk"
    ):
        as_data(Broken()).batch(np.arange(3))
    with pytest.raises(InputError, match="data is a Frame, whose columns are not yet arrays"):
        as_data(Frame())


def test_a_model_may_fail_in_any_way():
    def fail(*_):
        raise RuntimeError("no such head")

    with pytest.raises(InputError, match=r"model failed on params .*RuntimeError: no such head"):
        lltc.estimate_llc(fail, np.ones(2, np.float32), np.zeros((9, 2), np.float32))
