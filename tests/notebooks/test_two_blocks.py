"""The notebook of two blocks: what changes in one block shows in that block alone, in every reading."""

import numpy as np
import pytest

from tests.executing import execute

pytestmark = pytest.mark.notebook

STAGES = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2)]
STATE = """{
    "learnt": learnt.to_dict("list"),
    "steps": learnt.columns.tolist(),
    "whole": whole.reset_index().to_dict("list"),
    "parts": {
        name: [*parts.xs(name, level="component").values.T, exact[name].values] for name in blocks.MODES
    },
    "transitions": {
        name: [[t.step_low, t.step_high, t.delta_llc, t.delta_llc_se] for t in found]
        for name, found in first.component_transitions.items()
    },
    "entries": [[e.structure, e.partner, e.overlap] for e in first.dictionary().entries],
    "probes": [
        {
            "delta": [found.delta_llc, found.delta_llc_se],
            "stiffened": found.num_stiffened,
            "parts": {name: list(part[:4]) for name, part in found.by_component.items()},
        }
        for found in probes.values()
    ],
    "responses": [list(row.values()) for row in responses.values()],
    "compared": {
        name: [[s.delta_llc, s.delta_llc_se, len(s.transitions)] for s in found.stages]
        for name, found in compared.items()
    },
}"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    return execute("two_blocks", tmp_path_factory.mktemp("two_blocks"), STATE)


def rank(modes):
    return 10 * modes - modes**2


def test_modes_are_learnt_in_turn(executed):
    seen = [tuple(pair) for pair in executed.state["learnt"].values() if None not in pair]
    seen = [pair for pair in seen if not any(np.isnan(pair))]
    assert [pair for k, pair in enumerate(seen) if k == 0 or pair != seen[k - 1]] == STAGES


def test_curves_are_exact_within_their_errors(executed):
    whole = {name: np.array(values) for name, values in executed.state["whole"].items()}
    off = (whole["llc"] - whole["exact"]) / whole["llc_se"]
    for llc, se, exact in map(np.array, executed.state["parts"].values()):
        off = np.concatenate([off, (llc - exact) / se])
    # Errors of few draws are themselves uncertain by some ten percent.
    assert np.sqrt(np.mean(off**2)) < 1.6
    assert np.mean(np.abs(off) < 3) > 0.9


def test_a_components_transitions_are_its_own(executed):
    steps, learnt = executed.state["steps"], np.array(list(executed.state["learnt"].values()), float)
    for k, (name, found) in enumerate(executed.state["transitions"].items()):
        assert len(found) == 2, name
        for before, (low, high, delta, se) in enumerate(found):
            was, now = (np.array(steps)[learnt[:, k] == modes] for modes in (before, before + 1))
            assert low <= was[-1] <= high or low <= now[0] <= high
            limits = (4.5, 6.5, 8.0)
            assert abs(delta - (limits[before + 1] - limits[before])) < 3.5 * se + 0.2


def test_the_dictionary_pairs_blocks_with_their_own_losses(executed):
    entries = executed.state["entries"]
    for name, other in (("left", "right"), ("right", "left")):
        shares = {
            partner: [
                overlap for structure, with_it, overlap in entries if (structure, with_it) == (name, partner)
            ]
            for partner in (f"{name} loss", f"{other} loss")
        }
        own, crossed = shares.values()
        # The second fall of a loss is a sixteenth of the first and may be lost beside it.
        assert own.count(1.0) >= 1
        assert max(crossed, default=0.0) < 1


def test_probes_find_the_block_that_changed(executed):
    for found, before, after in zip(executed.state["probes"], STAGES[:-1], STAGES[1:], strict=True):
        changed = ("left", "right")[int(after[1] != before[1])]
        grown = sum(map(rank, after)) - sum(map(rank, before))
        assert found["stiffened"] == grown
        for name, (delta, se, stiffened, softened) in found["parts"].items():
            assert stiffened == pytest.approx(grown * (name == changed), abs=0.01)
            assert softened == pytest.approx(0, abs=0.01)
            known = {9: 2.0, 7: 1.5}[grown] * (name == changed)
            assert abs(delta - known) < 3.5 * se + 0.15 * (name == changed), (before, name)


def test_a_block_answers_to_its_own_examples(executed):
    for left, left_given, right_given, right, se, llc_left, llc_right in executed.state["responses"]:
        assert (left_given, right_given) == pytest.approx((-left, -right), rel=1e-3)
        assert abs(left + llc_left) < 4 * se
        assert abs(right + llc_right) < 4 * se


def test_runs_agree_on_both_stages_of_both_blocks(executed):
    for stages in executed.state["compared"].values():
        assert [count for *_, count in stages] == [2, 2]
        for (delta, se, _), known in zip(stages, (2.0, 1.5), strict=True):
            assert abs(delta - known) < 3.5 * se + 0.15


@pytest.mark.parametrize("cell", ["curve", "spectra"])
def test_pictures_are_drawn(executed, cell):
    (picture,) = executed.pictures(cell)
    assert len(picture) > 10_000
