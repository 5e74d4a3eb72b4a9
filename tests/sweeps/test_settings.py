"""A sweep's settings as a file holds them: what was written comes back, and what is none is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lltc import InputError, Sweep
from lltc.sweeps.runs import Runs
from lltc.sweeps.store.settings import SweepSettings
from tests.synthetic import make_settings

FIXED: dict[str, Any] = {"nbeta": 9.0, "localization": 1.0, "num_chains": 4, "batch_size": 8}
SETTINGS = make_settings(options=FIXED, given={"nbeta": None, "localization": None}, checkpoints={"0": None})


def test_settings_survive_a_file():
    assert SweepSettings.from_json(SETTINGS.to_json()) == SETTINGS
    assert SETTINGS.posterior == (9.0, 1.0)
    keyed = SETTINGS.with_key([1, 2])
    assert keyed.configuration != SETTINGS.with_key([1, 3]).configuration
    assert keyed.configuration_of() == keyed.configuration


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("[]", "it holds a list where an object is needed"),
        ("{", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ({"format": 99}, "its format is 99 where 1 is known"),
        ({"options": {}}, "its options is {}"),
        ({"options": FIXED | {"num_chains": "x"}}, "its options is"),
        ({"checkpoints": {"../../x": None}}, "its checkpoints is"),
        ({"checkpoints": {"1": None, "01": None}}, "its checkpoints is"),
        ({"checkpoints": {str(1 << 63): None}}, "its checkpoints is"),
        ({"components": ["a"]}, "its components is"),
        ({"observables": {"step": "h"}}, "its observables is"),
        ({"observables": {"llc": "h"}}, "its observables is"),
        ({"model": "\x1b[2J", "data": 3}, "its data is 3"),
    ],
)
def test_what_is_no_sweep_is_one_sentence(tmp_path, changed, said):
    text = changed if isinstance(changed, str) else json.dumps(json.loads(SETTINGS.to_json()) | changed)
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(InputError, match=r"has an unreadable sweep\.json") as refused:
        Sweep.open(tmp_path)
    assert said in str(refused.value)


def test_settings_that_name_what_is_not_there_are_passed_over(tmp_path):
    odd = {"options": FIXED | {"observables": 3}, "sub_losses": ["step", "x"]}
    (tmp_path / "sweep.json").write_text(json.dumps(json.loads(SETTINGS.to_json()) | odd))
    assert Sweep.open(tmp_path).curve.attrs["observables"] == []


@given(
    st.dictionaries(
        st.sampled_from(list(json.loads(SETTINGS.to_json()))), st.from_type(type(None)) | st.integers()
    )
)
def test_members_of_any_other_kind_are_refused(changed):
    """Whatever a file holds, it is read as settings or refused with a reason, never with another error."""
    content = json.loads(SETTINGS.to_json()) | changed
    try:
        settings = SweepSettings.from_json(json.dumps(content))
    except ValueError as error:
        reason = str(error)
    else:
        reason = "its " + settings.to_json()
    assert reason.startswith("its ")


@pytest.mark.parametrize("names", [["../other"], ["/etc"], [""], [3], "abc", None, [], ["a", "a"]])
def test_names_of_runs_stay_inside_their_folder(tmp_path, names):
    content = {"runs": names, "options": FIXED, "data": "", "given": {"nbeta": None, "localization": None}}
    (tmp_path / "runs.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"holds no runs\.json that can be read"):
        Runs.open(tmp_path)
