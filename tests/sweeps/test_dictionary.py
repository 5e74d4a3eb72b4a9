"""The dictionary: what changes with a transition is found, what does not is left out, chance is exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lltc.sweeps.reading.dictionary import chance_of, gaps_of, overlaps
from tests.synthetic import make_sweep

CHANGES = {12: 1.0, 25: 2.0}
OBSERVABLES = {"follows": {12: -3.0}, "elsewhere": {33: 5.0}, "flat": {}, "follows twice": {12: 1.0, 25: 1.0}}


def test_an_observable_that_changes_with_a_transition_is_its_entry_and_no_other():
    swept = make_sweep(CHANGES, OBSERVABLES)
    first, second = swept.transitions
    assert (first.step_low, first.step_high, second.step_low, second.step_high) == (110, 120, 240, 250)
    assert swept.observable_transitions["flat"] == ()
    found = swept.dictionary()
    assert [entry.partner for entry in found.of(first)] == ["follows", "follows twice"]
    assert [entry.partner for entry in found.of(second)] == ["follows twice"]
    # Each marker is one of 39 intervals; of 39 shifts one puts "follows" there, two put "follows twice".
    assert [entry.overlap for entry in found.entries] == [1.0] * 3
    assert [entry.chance for entry in found.entries] == pytest.approx([1 / 39, 2 / 39, 2 / 39])
    assert found.of(first)[0].change.kind == "fall"
    together = {c.partner: (c.overlap, c.chance) for c in found.companions}
    assert together == {
        "follows twice": (1.0, pytest.approx(1 / 39)),
        "follows": (0.5, pytest.approx(2 / 39)),
    }
    # Two transitions, each beside four observables and the loss.
    assert found.tested == 10


def test_components_are_structures_and_partners():
    parts = {"head": {12: 1.0}, "tail": {25: 2.0}, "idle": {}}
    swept = make_sweep(CHANGES, {"skill": {25: -1.0}}, parts)
    found = swept.dictionary()
    assert list(found.structures) == ["llc", "head", "tail", "idle"]
    told = {(e.structure, e.transition.step_high, e.kind, e.partner) for e in found.entries}
    assert told == {
        ("llc", 120, "component", "head"),
        ("llc", 250, "component", "tail"),
        ("llc", 250, "observable", "skill"),
        ("tail", 250, "observable", "skill"),
    }


def test_it_prints_and_becomes_a_table(tmp_path):
    found = make_sweep(CHANGES, OBSERVABLES).dictionary()
    lines = repr(found).splitlines()
    assert lines[0].startswith(
        "Dictionary(2 transitions, 10 pairs: 1 with a chance of 0.05 or less, at most 0.5"
    )
    assert lines[1].startswith("llc: rise of 0.99 ± 0.03 between")
    assert lines[2].split()[:3] == ["follows", "fall", "of"]
    assert lines[2].endswith("steps 110 to 120  overlap 1.00  chance 0.026")
    table = found.to_dataset()
    assert table.sizes == {"entry": 3}
    assert table["partner"].values.tolist() == ["follows", "follows twice", "follows twice"]
    found.to_csv(tmp_path / "dictionary.csv")
    assert len((tmp_path / "dictionary.csv").read_text().splitlines()) == 4
    assert lines[-3:] == [
        "llc: all transitions at once",
        "  follows twice  overlap 1.00  chance 0.026",
        "  follows        overlap 0.50  chance 0.051",
    ]
    lonely = make_sweep({12: 1.0}, {"elsewhere": {33: 5.0}}).dictionary()
    assert repr(lonely).splitlines()[-1] == "  nothing else"
    empty = make_sweep({}, {"flat": {}}).dictionary()
    assert empty.entries == ()
    assert empty.tested == 0


def test_unrelated_changes_are_rarely_called_related():
    rng = np.random.default_rng(0)
    tested = rare = 0
    for seed in range(12):
        places = rng.integers(3, 37, size=(7, 2))
        told = {f"o{k}": {int(places[k, 0]): 1.0, int(places[k, 1]): -1.0} for k in range(6)}
        found = make_sweep({int(places[6, 0]): 1.0}, told, seed=seed).dictionary()
        tested += found.tested
        rare += sum(entry.chance <= 0.05 for entry in found.entries)
    assert tested == 12 * 7
    # At most 5 % are expected; more than 11 of 84 would happen once in 400 times.
    assert rare <= 11


@given(st.integers(2, 30), st.data())
def test_chance_counts_the_shifts_that_overlap_as_much(count, data):
    draw = lambda: np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    here, there = draw(), np.array([draw(), draw()])
    chance = chance_of(here, there)
    shifted = [overlaps(here, np.roll(there, shift, -1)).max() for shift in range(count)]
    assert chance == np.mean(np.array(shifted) >= overlaps(here, there).max() - 1e-12)
    assert 1 / count - 1e-12 <= chance <= 1
    # Shifting both alike, around the circle, changes nothing.
    shift = data.draw(st.integers(0, count))
    assert chance_of(np.roll(here, shift), np.roll(there, shift, -1)) == pytest.approx(chance)
    assert np.all(overlaps(here, there) <= 1)


def test_a_marker_covers_the_intervals_between_its_steps():
    steps = np.array([0.0, 1.0, 10.0, 100.0, 1000.0])
    (marker,) = make_sweep({2: 9.0}, count=5, steps=[0, 1, 10, 100, 1000]).transitions
    assert (marker.step_low, marker.step_high) == (1, 10)
    assert gaps_of(marker, steps).tolist() == [False, True, False, False]
