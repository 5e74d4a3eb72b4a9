"""One list of arguments: every verb and the shell take the same ones, and a posterior in place of three."""

import inspect
from dataclasses import fields
from typing import Any, get_type_hints

import jax.numpy as jnp
import numpy as np
import pytest

import lltc
from lltc import InputError
from lltc.cli.arguments import Sampling
from lltc.estimates.options import DEFAULTS, LadderOptions, Options, SweepOptions
from tests.problems import constant

POINT = {"a": np.array([0.5, -0.5], np.float32), "b": np.ones(3, np.float32)}
MODEL = constant(lambda w: jnp.sum(w["a"] ** 4) + 0.5 * jnp.sum(w["b"] ** 2))
DATA = np.zeros((8, 1), np.float32)
POSTERIOR: dict[str, Any] = {"nbeta": 100.0, "localization": 2.0}
FEW: dict[str, Any] = {"num_draws": 128, "num_warmup": 32, "num_chains": 4, "progress": False}
VERBS = {
    "estimate_llc": lltc.estimate_llc,
    "estimate_llc_ladder": lltc.estimate_llc_ladder,
    "estimate_llc_team": lltc.estimate_llc_team,
    "reference_llc": lltc.reference_llc,
    "susceptibilities": lltc.susceptibilities,
    "probe": lltc.probe,
    "compression_curve": lltc.compression_curve,
}


def test_all_lists_of_arguments_are_one():
    """The record, its defaults, its text, a ladder's, a sweep's and the shell's have the same names."""
    names = set(get_type_hints(Options))
    assert names == set(DEFAULTS) == set(get_type_hints(LadderOptions))
    assert set(get_type_hints(SweepOptions)) == names - {"key", "observables", "progress"}
    assert {field.name for field in fields(Sampling)} == names - {"observables", "progress"}
    documented = {line.split(":")[0].strip() for line in (Options.__doc__ or "").splitlines() if ":" in line}
    assert names <= documented
    for field in fields(Sampling):
        assert field.default == DEFAULTS[field.name]
        assert field.name in inspect.cleandoc(Sampling.__doc__ or "").splitlines()


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_verb_takes_them(verb):
    parameters = inspect.signature(verb).parameters
    assert next(iter(parameters)) == "model"
    assert parameters["options"].kind is inspect.Parameter.VAR_KEYWORD
    assert not set(DEFAULTS) & set(parameters)


@pytest.mark.parametrize(("name", "verb"), VERBS.items(), ids=VERBS)
def test_a_typo_is_one_sentence(name, verb):
    more = {"components": ["a"]} if name == "estimate_llc_team" else {}
    points = [POINT, POINT] if name == "probe" else [POINT]
    with pytest.raises(InputError, match=rf"^num_chain is no argument of {name}.*did you mean num_chains\?$"):
        verb(MODEL, *points, DATA, num_chain=4, **more)


def test_a_posterior_takes_the_place_of_model_params_and_data():
    posterior = lltc.local_posterior(MODEL, POINT, DATA, **POSTERIOR)
    assert isinstance(posterior, lltc.LocalPosterior)
    assert (posterior.nbeta, posterior.localization, posterior.num_params) == (100.0, 2.0, 5)
    np.testing.assert_array_equal(posterior.params["b"], POINT["b"])
    for name, verb in VERBS.items():
        more: dict[str, Any] = {"components": ["a", "b"]} if name == "estimate_llc_team" else {}
        ladder = {"nbeta": [50.0, 100.0]} if name == "estimate_llc_ladder" else {}
        count = 2 if name == "probe" else 1
        long = verb(MODEL, *[POINT] * count, DATA, **(POSTERIOR | ladder), **FEW, **more)
        short = verb(*[posterior] * count, **ladder, **FEW, **more)
        assert _numbers(short) == _numbers(long)


def _numbers(result: Any) -> list[Any]:
    """Return the numbers that tell two results apart."""
    for name in ("estimate", "before"):
        result = getattr(result, name, result)
    values = result.removable if hasattr(result, "removable") else result.llc
    return np.ravel(values).tolist()


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ([MODEL, POINT], {}, "data is missing: estimate_llc takes"),
        (["posterior", POINT], {}, "params or data were given beside a posterior"),
        (["posterior"], {"nbeta": 3.0}, "nbeta was given beside a posterior, which has its own"),
        ([POINT, MODEL, DATA], {}, "model must be a function"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments, options, said):
    posterior = lltc.local_posterior(MODEL, POINT, DATA, **POSTERIOR)
    given = [posterior if isinstance(argument, str) else argument for argument in arguments]
    with pytest.raises(InputError, match=said):
        lltc.estimate_llc(*given, **options, progress=False)


def test_a_probe_asks_for_its_order_and_for_one_temperature():
    with pytest.raises(InputError, match=r"the order is probe\(model, before, after, data\)"):
        lltc.probe(*[POINT, POINT, MODEL, DATA])
    cold = lltc.local_posterior(MODEL, POINT, DATA, nbeta=100.0, localization=2.0)
    hot = lltc.local_posterior(MODEL, POINT, DATA, nbeta=50.0, localization=2.0)
    with pytest.raises(InputError, match="a probe compares at one nβ and one γ"):
        lltc.probe(hot, cold)


def test_what_nuts_chooses_cannot_be_given():
    with pytest.raises(InputError, match="NUTS sees all the data and chooses for itself"):
        lltc.reference_llc(MODEL, POINT, DATA, step_size=0.1)
