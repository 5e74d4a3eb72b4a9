"""Pickles followed as plain data: the values pickle gives, and calls handed over instead of made."""

import io
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lltc.checkpoints.formats.opcodes import Opaque, read_opcodes

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda child: (
        st.lists(child, max_size=3)
        | st.tuples(child, child)
        | st.dictionaries(st.text() | st.integers(), child, max_size=3)
    ),
    max_leaves=12,
)


@given(value=plain, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_pickles_are_read_as_pickle_reads_them(value, protocol):
    stream = io.BytesIO(pickle.dumps(value, protocol) + b"more")
    assert read_opcodes(stream) == value
    assert stream.read() == b"more"


def test_calls_are_handed_over_with_their_arguments():
    value = read_opcodes(io.BytesIO(pickle.dumps({"bytes": b"x", "set": {1}, "range": range(3)}, 5)))
    assert (value["bytes"], value["set"]) == (b"x", {1})
    assert isinstance(value["range"], Opaque)
    assert (value["range"].name, value["range"].parts) == ("builtins.range", [0, 3, 1])


def test_shared_values_stay_shared():
    shared = [1]
    left, right, again = read_opcodes(io.BytesIO(pickle.dumps((shared, shared, [2]), 2)))
    assert left is right
    assert again == [2]


@pytest.mark.parametrize("stream", [b"", b"\x80\x02", b"\x80\x02}", b"t.", b"h\x05.", b"\x80\x02K\x01\x97."])
def test_broken_streams_raise(stream):
    with pytest.raises((ValueError, KeyError, IndexError)):
        read_opcodes(io.BytesIO(stream))
