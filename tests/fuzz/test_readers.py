"""Every reader on damaged seeds: a refusal or params, no other exception."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds, target

PLACE = st.floats(0, 1, exclude_max=True)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("set"), PLACE, st.binary(min_size=1, max_size=9)),
        st.tuples(st.just("insert"), PLACE, st.binary(min_size=1, max_size=9)),
        st.tuples(st.just("cut"), PLACE, st.just(b"")),
        st.tuples(st.just("drop"), PLACE, st.binary(min_size=1, max_size=9)),
    ),
    max_size=4,
)


def changed(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, some in changes:
        at = int(place * len(content))
        if kind == "set":
            content = content[:at] + some + content[at + len(some) :]
        elif kind == "insert":
            content = content[:at] + some + content[at:]
        else:
            content = content[:at] + (content[at + len(some) :] if kind == "drop" else b"")
    return content


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused(name, tmp_path_factory):
    read, whole = target(name, tmp_path_factory.mktemp("fuzz")), seeds(name)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(whole), CHANGES)
    def read_changed(content, changes):
        read(changed(content, changes))

    read_changed()
