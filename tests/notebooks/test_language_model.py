"""The notebook of the language model: known stages, and what the readings of the posterior say of induction.

What is asked here was tried with keys 0, 1 and 2, each another training run and other chains.
"""

from itertools import pairwise

import numpy as np
import pytest

from tests.executing import execute

pytestmark = pytest.mark.notebook

NAMES = ("words", "new names", "repeated names")
STATE = """{
    "texts": [texts["tokens"].tolist(), texts["kind"].tolist()],
    "curve": curve.drop_vars("reason").to_dataframe().reset_index().to_dict("list"),
    "stages": {stage: values for (_, stage), values in stages.items()},
    "overlaps": overlaps[KEY],
    "ends": [before, after],
    "inducing": place,
    "alone": list(alone[inducing].values()),
    "told": {f"{when} {name}": list(values.values()) for (when, name), values in told.items()},
    "recall": [values["recall"] for (when, _), values in scores.items() if when == "after"],
    "probe": [probe.delta_llc, probe.delta_llc_se, probe.num_stiffened, probe.num_softened],
    "stiffened": [part.stiffened for part in probe.by_component.values()],
}"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    return execute("language_model", tmp_path_factory.mktemp("language"), STATE)


@pytest.fixture(scope="module")
def curve(executed):
    return {name: np.array(values) for name, values in executed.state["curve"].items()}


def test_only_repeated_letters_follow_from_what_was_read(executed):
    # Kinds: 2 is a letter of the first spelling of a name, 3 of the second.
    for tokens, kinds in zip(*executed.state["texts"], strict=True):
        pairs = list(pairwise(tokens))
        followed = [pair in pairs[:place] for place, pair in enumerate(pairs)]
        assert [f for f, kind in zip(followed, kinds, strict=True) if kind == 3] == 7 * [True]
        assert [f for f, kind in zip(followed, kinds, strict=True) if kind == 2] == 7 * [False]


def test_stages_come_in_their_order(executed, curve):
    stages = executed.state["stages"]
    names = ["as unigrams", "as bigrams", "induction"]
    assert all(stages[a]["step"] < stages[b]["step"] for a, b in pairwise(names))
    assert stages["as bigrams"]["from bigrams"] < 0.2 < stages["as unigrams"]["from bigrams"]
    assert abs(stages["as bigrams"]["in-context learning"]) < 0.1
    assert curve["loss of repeated names"][-1] < 0.1
    # Eight different letters of sixteen: ln 16!/8! over eight is all there is to know of a new one.
    assert curve["loss of new names"][-1] > 2.4


def test_llc_rises_most_with_induction(executed, curve):
    stages = executed.state["stages"]
    rises = []
    for a, b in (("as unigrams", "as bigrams"), ("before", "end")):
        rises.append(stages[b]["llc"] - stages[a]["llc"])
        assert rises[-1] > 4 * np.hypot(stages[a]["llc_se"], stages[b]["llc_se"])
    assert rises[1] > rises[0]
    assert set(curve["status"]) <= {"ok", "few_draws", "not_equilibrated", "too_coarse", "unexplored"}


def test_markers_of_llc_and_of_induction_overlap(executed):
    overlaps = executed.state["overlaps"]
    assert set(overlaps) == {"prefix matching", "repeated names"}
    for name, overlap in overlaps.items():
        assert overlap == {"marker": True, "halfway": True}, name


def test_the_head_that_matches_prefixes_is_held_faster(executed):
    before, after, before_se, after_se, *matching = executed.state["alone"]
    assert after - before > 4 * np.hypot(before_se, after_se)
    assert matching[0] < 0.3 < 0.8 < matching[1]


def test_the_head_responds_to_new_names_only_after(executed):
    told = executed.state["told"]
    value, se = told["after new names"]
    assert value < -3 * se
    assert abs(value) > 5 * max(abs(told[f"before {name}"][0]) for name in NAMES)


def test_no_cluster_is_induction(executed):
    assert max(executed.state["recall"], default=0.0) < 0.5


def test_most_of_what_stiffened_lies_in_that_head(executed):
    delta, se, *_ = executed.state["probe"]
    assert delta > 4 * se
    stiffened = executed.state["stiffened"]
    assert np.argmax(stiffened) == executed.state["inducing"]


def test_a_picture_is_drawn(executed):
    (picture,) = executed.pictures("curve")
    assert len(picture) > 10_000
