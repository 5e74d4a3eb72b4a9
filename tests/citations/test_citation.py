"""What is cited for a result: what it rests on, each work once."""

import inspect
import re
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc.bibliography import entries
from lltc.citations import bibtex
from lltc.citations.bibtex import ALWAYS, EXCHANGE, KERNELS, MINIBATCHES
from lltc.errors import InputError
from tests.sweeping import make_checkpoints, run

FEW: dict[str, Any] = {
    "num_draws": 64,
    "num_warmup": 64,
    "nbeta": 50.0,
    "localization": 1.0,
    "progress": False,
}
PARAMS = {"a": jnp.ones(2), "b": jnp.ones(3)}


def loss(params, x):
    return 0.5 * (jnp.sum(params["a"] ** 2) + jnp.sum(params["b"] ** 2)) * jnp.ones(len(x))


def keys_of(text: str) -> list[str]:
    return re.findall(r"^@\w+{(\w+),", text, re.MULTILINE)


def test_every_entry_is_well_formed_and_every_key_that_is_used_is_there():
    used = {*ALWAYS, *MINIBATCHES, *(key for keys in KERNELS.values() for key in keys)}
    assert used <= set(entries())
    for key, entry in entries().items():
        assert entry.count("{") == entry.count("}"), key
        assert "author" in entry, key
        assert "title" in entry, key
    assert lltc.__version__ in entries()["lltc"]


def test_every_entry_is_cited_for_some_result():
    source = inspect.getsource(bibtex)
    assert [key for key in entries() if f'"{key}"' not in source] == []


def test_every_kernel_of_lltc_has_its_source():
    factories = (lltc.kernels.baoab, lltc.kernels.euler, lltc.kernels.ghmc, lltc.kernels.mala)
    factories += (lltc.kernels.leimkuhler_matthews, lltc.kernels.rmsprop, lltc.kernels.sgnht)
    assert {make().name for make in factories} <= set(KERNELS)


@pytest.mark.parametrize("name", ["euler", "ghmc", "sgnht"])
def test_an_estimate_cites_its_kernel_and_no_other(name):
    estimate = lltc.estimate_llc(loss, PARAMS, jnp.zeros(50), kernel=getattr(lltc.kernels, name)(), **FEW)
    cited = keys_of(lltc.citation(estimate))
    assert len(cited) == len(set(cited))
    assert set(cited) == {*ALWAYS, *KERNELS[name], *MINIBATCHES}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        (lltc.kernels.exchanging(lltc.kernels.ghmc(), 3).name, {*KERNELS["ghmc"], *EXCHANGE}),
        (lltc.kernels.scheduled(lltc.kernels.euler(), lambda _: 1.0).name, {*KERNELS["euler"]}),
    ],
)
def test_a_kernel_within_another_is_cited_as_itself(name, keys):
    estimate = lltc.estimate_llc(loss, PARAMS, jnp.zeros(50), **FEW)
    text = lltc.citation(replace(estimate, kernel=name))
    assert set(keys_of(text)) == {*ALWAYS, *keys, *MINIBATCHES}
    assert "cite its own source" not in text


def test_a_kernel_of_ones_own_is_named_in_a_comment():
    own = lltc.kernels.baoab()._replace(name="mine")
    estimate = lltc.estimate_llc(loss, PARAMS, jnp.zeros(50), kernel=own, **FEW)
    text = lltc.citation(estimate)
    assert text.endswith("% kernel mine: cite its own source")
    assert "leimkuhler" not in text


def test_other_results_add_what_they_rest_on():
    rungs: dict[str, Any] = FEW | {"nbeta": [25.0, 50.0]}
    ladder = lltc.estimate_llc_ladder(loss, PARAMS, jnp.zeros(50), **rungs)
    team = lltc.estimate_llc_team(loss, PARAMS, jnp.zeros(50), components=["a", "b"], **FEW)
    reference = lltc.reference_llc(loss, PARAMS, jnp.zeros(50), **FEW)
    assert "watanabe2013widely" in keys_of(lltc.citation(ladder))
    assert "wang2025differentiation" in keys_of(lltc.citation(team))
    assert {"hoffman2014nuts", "phan2019composable"} <= set(keys_of(lltc.citation(reference)))
    assert not set(MINIBATCHES) & set(keys_of(lltc.citation(reference)))


def test_results_without_a_kernel_add_what_they_rest_on():
    crossing = lltc.free_energy_crossing((0.06874, 7.0), (0.04819, 8.5))
    curve = lltc.CompressionCurve("parameters", np.zeros(1), np.zeros(1), np.zeros(1), 1.0, 0.0, PARAMS)
    assert keys_of(lltc.citation(crossing)) == [*ALWAYS, "watanabe2009algebraic", "chen2023dynamical"]
    assert keys_of(lltc.citation(curve)) == [*ALWAYS, "lecun1990optimal"]


def test_a_reading_cites_its_estimate_and_what_is_worked_out_of_it():
    estimate = lltc.estimate_llc(loss, PARAMS, jnp.zeros(50), **FEW)
    record = object.__new__(lltc.LossRecord)
    object.__setattr__(record, "estimate", estimate)
    cited = set(keys_of(lltc.citation(record)))
    assert set(keys_of(lltc.citation(estimate))) < cited
    assert {"baker2026structural", "kreer2026bayesian", "adam2025loss"} <= cited


def test_a_sweep_cites_its_transitions_and_its_components(tmp_path):
    make_checkpoints(tmp_path / "in", 2)
    whole = keys_of(lltc.citation(run(tmp_path, "whole")))
    parts = keys_of(lltc.citation(run(tmp_path, "parts", components=["first", "second"])))
    assert whole[-1] == "fearnhead2006exact"
    assert set(parts) == {*whole, "wang2025differentiation"}
    assert {*KERNELS["ghmc"], *ALWAYS} <= set(whole)


def test_anything_else_gets_one_sentence():
    number: Any = 1.0
    with pytest.raises(InputError, match="a float was given"):
        lltc.citation(number)
