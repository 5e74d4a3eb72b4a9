"""Several runs compared: stages matched in order, sizes with errors, agreement beyond chance."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lltc import InputError, compare
from lltc.sweeps.comparison import comparison_tables
from lltc.sweeps.reading.matching import agreement, chance_of_order, match_in_order, similarity
from tests.synthetic import make_sweep

STAGES = (3.0, 1.0, -1.5, 0.6)


def run(seed: int, sizes=STAGES, skills=("a", "b", "c", "d"), **options: Any):
    """Return a sweep whose stages, each with a skill of its own, begin where the seed says."""
    places = [7 * k + 6 + (seed + k) % 3 for k in range(len(sizes))]
    changes = dict(zip(places, sizes, strict=True))
    told = {name: {place: 1.0} for name, place in zip(skills, places, strict=True)}
    return make_sweep(changes, told | {"flat": {}}, seed=seed, noise=0.03, name=f"seed{seed}", **options)


def test_runs_with_the_same_stages_agree_beyond_chance():
    found = compare([run(seed) for seed in range(3)])
    assert list(found.sweeps) == ["seed0", "seed1", "seed2"]
    assert len(found.stages) == 4
    for stage, size, skill in zip(found.stages, STAGES, "abcd", strict=True):
        assert set(stage.transitions) == set(found.sweeps)
        assert abs(stage.delta_llc - size) < 4 * stage.delta_llc_se
        assert stage.delta_llc_se < 0.05
        assert stage.same_size > 1e-3
        assert stage.shared == (f"rise of {skill}",)
    assert found.agreement > 0.95
    # Of 24² orders of two runs beside the first, the given one agrees best.
    assert found.chance == pytest.approx(1 / 576)
    assert found.partner_agreement == 1.0
    assert found.partner_chance == pytest.approx(1 / 576)
    assert all(not left for left in found.unmatched.values())
    assert found.alike


def test_a_stage_that_one_run_skips_and_one_in_another_order():
    runs = {"whole": run(0), "skips": run(1, (3.0, -1.5, 0.6), "acd"), "third": run(2)}
    found = compare(runs)
    assert [len(stage.transitions) for stage in found.stages] == [3, 2, 3, 3]
    assert "skips" not in found.stages[1].transitions
    turned = compare([run(0), run(1, STAGES[::-1], "dcba")])
    assert turned.chance > 0.5
    assert sum(map(len, turned.unmatched.values())) > 0


def test_other_sizes_are_told_apart_by_their_errors():
    (stage,) = compare([run(0, (3.0,), "a"), run(1, (3.5,), "a")]).stages
    assert stage.same_size < 1e-6
    # The mean's error is widened by the scatter.
    assert stage.delta_llc_se > 0.1


def test_runs_that_share_nothing_agree_no_more_than_by_chance():
    found = compare([run(0, (2.0, 2.1, 1.9), "abc"), run(1, (2.1, 1.9, 2.0), "cab")])
    assert found.agreement > 0.85
    assert found.chance >= 0.3
    assert found.partner_agreement == 0.0
    assert found.partner_chance == 1.0


def test_where_no_stage_is_shared_there_is_no_agreement_of_partners_and_no_chance():
    found = compare([run(0, (2.0,), "a"), run(1, (-2.0,), "a")])
    assert (found.agreement, found.chance) == (0.0, 1.0)
    assert np.isnan([found.partner_agreement, found.partner_chance]).all()
    assert repr(found).splitlines()[2] == "what changes    nothing to compare"
    (table,) = comparison_tables(found)
    assert "No two runs have a stage in common with which anything changes." in table.note


def test_a_components_transitions_are_compared_too():
    parts = lambda at: {"head": {at: 1.0}, "tail": {at + 10: 2.0}}
    runs = [make_sweep({9: 1.0}, components=parts(at), seed=at, name=str(at)) for at in (9, 12)]
    found = compare(runs, structure="tail")
    assert [stage.transitions["12"].step_high for stage in found.stages] == [220]
    with pytest.raises(InputError, match="structure='neck' is no component of run '9', which has head, tail"):
        compare(runs, structure="neck")
    with pytest.raises(InputError, match="sweeps holds 1, but a comparison needs two or more"):
        compare(runs[:1])


def test_runs_without_transitions_and_with_other_settings():
    flat = compare([make_sweep({}, seed=1, name="a"), make_sweep({}, seed=2, name="a")])
    assert list(flat.sweeps) == ["a 1", "a 2"]
    assert flat.stages == ()
    assert np.isnan(flat.chance)
    assert repr(flat).splitlines()[1] == "sizes in order  nothing to compare"
    (table,) = comparison_tables(flat)
    assert "Agreement of the sizes" not in table.note
    with pytest.raises(InputError, match="stages is empty"):
        flat.plot()
    other = run(1)
    other.settings.options["nbeta"] = 50.0
    assert "their nβ or γ differ" in repr(compare([run(0), other]))


def test_it_prints_draws_and_becomes_a_table():
    found = compare({"first": run(0), "second": run(1, (3.0, 1.0, -1.5), "abc")})
    lines = repr(found).splitlines()
    assert lines[0] == "Comparison(2 runs, 4 stages as in 'first')"
    assert lines[5].split()[0] == "1"
    assert "2 of 2" in lines[5]
    assert "rise of a" in lines[5]
    assert lines[7].split()[1].startswith("-1.5")
    table = found.to_dataset()
    assert table["delta_llc"].dims == ("stage", "run")
    assert np.isnan(table["delta_llc"].sel(stage=4, run="second"))
    axes = found.plot()
    drawn = [bar.get_label() for bar in axes.containers]
    assert drawn == ["first", "second"]
    bars: Any = axes.containers[0]
    np.testing.assert_array_equal(bars.lines[0].get_ydata(), table["delta_llc"].sel(run="first"))
    assert axes.get_xticklabels()[0].get_text() == "stage 1\nrise of a"


SIZES = st.lists(st.floats(-9, 9).filter(lambda size: abs(size) > 1e-3), max_size=5)


@given(SIZES, SIZES, st.floats(0.1, 10))
def test_matching_is_ordered_one_to_one_and_knows_no_unit(first, second, unit):
    pairs = match_in_order(first, second)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))
    assert all(similarity(first[a], second[b]) > 0 for a, b in pairs)
    total = sum(similarity(first[a], second[b]) for a, b in pairs)
    back = match_in_order(second, first)
    assert sum(similarity(second[a], first[b]) for a, b in back) == pytest.approx(total)
    if first and second:
        assert agreement([first, second]) == pytest.approx(2 * total / (len(first) + len(second)))
        scaled = [[unit * size for size in each] for each in (first, second)]
        near_the_bound = any(0.49 < min(abs(a / b), abs(b / a)) < 0.51 for a in first for b in second)
        if not near_the_bound:
            assert agreement(scaled) == pytest.approx(agreement([first, second]))
    if first:
        assert agreement([first, first]) == pytest.approx(1.0)


def test_orders_beyond_what_can_be_tried_are_drawn():
    score = lambda orders: float(orders[0] == orders[1])
    assert chance_of_order([3, 3], score) == pytest.approx(1 / 6)
    assert 1 / 2000 <= chance_of_order([8, 8], score) <= 3 / 2000
    assert chance_of_order([8, 8], lambda _: 1.0) == 1.0
