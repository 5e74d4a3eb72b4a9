"""Structure in responses: clusters that are blocks, new lines, weights that move what they aim at."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import lltc
from lltc import InputError, Status
from lltc.errors import LLCWarning
from lltc.fluctuations.tokens.modes import find_noise
from tests.fluctuations.tokens.two_blocks import (
    BLOCKS,
    DATA,
    GAMMA,
    KIND,
    LENGTH,
    NBETA,
    OPTIONS,
    SIZE,
    WIDTH,
    hessians,
    model,
    read,
    train,
)

KEYS = (0, 1, 2)


@pytest.fixture(scope="module")
def responses(tmp_path_factory) -> Any:
    return [read(tmp_path_factory.mktemp("store"), key=key).susceptibilities() for key in KEYS]


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Any:
    """The same network while the right block lies behind a closed gate."""
    with pytest.warns(LLCWarning, match="does not depend on right"):
        return read(tmp_path_factory.mktemp("store"), gate=0.0).susceptibilities()


@pytest.mark.parametrize("at", range(3))
def test_clusters_are_the_blocks(responses, at):
    clusters = responses[at].cluster()
    assert np.mean(clusters.labels >= 0) > 0.6
    assert len(clusters.stability) == 2
    for cluster in range(2):
        assert len(set(KIND[clusters.labels == cluster])) == 1
        kind = KIND[clusters.labels == cluster][0]
        (name, (value, se)), *_ = clusters.strongest(cluster)
        assert name == BLOCKS[kind]
        assert value < -4 * se
        assert clusters.stability[cluster] > 0.5


def test_clusters_of_two_keys_agree_beyond_chance(responses):
    first, second = (response.cluster() for response in responses[:2])
    match = first.match(second)
    assert match.agreement == pytest.approx(adjusted_rand_score(first.labels, second.labels))
    assert match.agreement > 0.4
    assert match.chance == 0.001
    assert match.overlap.min() > 0.5
    shuffled = np.random.default_rng(0).permutation(second.labels)
    by_chance = first.match(type(second)(second.responses, shuffled, second.stability, second.response))
    assert abs(by_chance.agreement) < 0.1
    assert by_chance.chance > 0.01


def test_tokens_that_do_not_respond_are_in_no_cluster(before):
    clusters = before.cluster()
    assert not np.any(KIND[clusters.labels >= 0] == 1)
    assert repr(clusters).startswith(f"Clusters({len(clusters.stability)} of 400 tokens, ")


@pytest.mark.parametrize("at", range(3))
def test_strength_orders_the_components(responses, at):
    """The right block's share of the response is known: the root mean square of χ over tokens."""
    value, se = responses[at].strength()
    hessian = hessians(np.ones(len(KIND)))
    sigma = [np.linalg.inv(NBETA * h + GAMMA * np.eye(WIDTH)) for h in hessian]
    x = DATA[0].reshape(-1, WIDTH).astype(float)
    exact = []
    for kind in (0, 1):
        # Of quadratic forms around the minimum; the linear part of ℓ_t covaries with none.
        both = sigma[kind] @ hessian[kind] @ sigma[kind]
        own = 0.5 * NBETA * np.einsum("ti,ij,tj->t", x, both, x) * (kind == KIND)
        exact.append(np.sqrt(np.mean((own - own.mean()) ** 2)))
    np.testing.assert_array_less(np.abs(value - exact), 5 * se)


def test_a_line_is_new_where_the_gate_has_opened(responses, before):
    for response in responses:
        change = lltc.spectra(before, response)
        assert (change.is_new.sum(), change.is_gone.sum()) == (1, 0)
        new = int(np.flatnonzero(change.is_new)[0])
        assert change.lines.components[BLOCKS.index("right"), new] ** 2 > 0.9
        assert abs(change.before.value[new]) < 4 * change.before.se[new] + 0.3 * change.after.value[new]
        back = lltc.spectra(response, before)
        assert (back.is_new.sum(), back.is_gone.sum()) == (0, 1)
        assert "  new  " in repr(change)


def test_nothing_is_new_between_two_keys(responses):
    for one, other in ((0, 1), (1, 2), (2, 0)):
        change = lltc.spectra(responses[one], responses[other])
        assert change.is_new.sum() == change.is_gone.sum() == 0


def moved(weights: np.ndarray) -> np.ndarray:
    """Return E[φ] of each block, φ that of the old data, as the data are weighed anew."""
    old = hessians(np.ones(len(KIND)))
    sigma = [np.linalg.inv(NBETA * h + GAMMA * np.eye(WIDTH)) for h in hessians(weights)]
    return np.array([0.5 * NBETA * np.trace(h @ s) for h, s in zip(old, sigma, strict=True)])


@pytest.mark.parametrize("at", range(3))
def test_patterning_moves_one_component_by_what_it_says(responses, at):
    pattern = responses[at].patterning({"left": 1.0}, most=0.1)
    assert np.abs(pattern.weights - 1).max() == pytest.approx(0.1)
    assert pattern.weights.mean() == pytest.approx(1)
    exact = moved(pattern.weights) - moved(np.ones(len(KIND)))
    value, se = pattern.expected
    np.testing.assert_array_less(np.abs(value - exact), 4 * se + 0.15 * abs(exact[0]))
    assert exact[0] > 0
    assert abs(exact[1]) < 0.3 * exact[0]


@pytest.mark.parametrize("wanted", [1.0, -1.0])
def test_retrained_on_the_pattern_the_network_has_the_llc_aimed_at(responses, wanted):
    pattern = responses[0].patterning({"llc": wanted})
    weighed = (*DATA[:3], pattern.weights.reshape(SIZE, LENGTH).astype(np.float32), DATA[4])
    estimates = [lltc.estimate_llc(model, train(data), data, **OPTIONS) for data in (DATA, weighed)]
    change = estimates[1].llc - estimates[0].llc
    error = float(np.hypot(estimates[0].llc_se, estimates[1].llc_se))
    expected = pattern.expected.value[-1]
    assert np.sign(change) == np.sign(expected) == np.sign(wanted)
    assert abs(change) > 3 * error
    assert abs(change - expected) < 4 * np.hypot(error, pattern.expected.se[-1]) + 0.25 * abs(expected)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda response: response.patterning({"middle": 1.0}), "target must map some of left, right, llc"),
        (lambda response: response.patterning({}), "target must map"),
        (lambda response: response.patterning({"left": 0.0}), "not all 0"),
        (lambda response: response.patterning({"left": np.inf}), "finite changes"),
        (lambda response: response.patterning({"left": "x"}), "finite changes"),
        (lambda response: response.patterning({"left": 1.0}, most=2), "most must lie above 0"),
        (lambda response: response.patterning({"left": 1.0}, most="1"), "most must lie above 0"),
        (lambda response: response.cluster(min_size=1), "min_size must be an integer"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_sentence(responses, call, said):
    with pytest.raises(InputError, match=said):
        call(responses[0])


def test_clusters_of_few_chains_are_refused(tmp_path):
    response = read(tmp_path, num_draws=256, num_chains=3).susceptibilities()
    with pytest.raises(InputError, match=r"at least 4 chains.*but 3 were read"):
        response.cluster()
    for call in (response.lines, lambda: response.patterning({"left": 1.0})):
        with pytest.raises(InputError, match=r"at least 8 chains, but 3 were read"):
            call()
    assert np.isfinite(response.strength().se).all()


@pytest.mark.parametrize("chains", [8, 9, 16])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (4, 50)])
def test_noise_alone_has_a_line_in_at_most_one_of_twenty(chains, shape):
    rng, times = np.random.default_rng(chains), 400
    noises = rng.normal(size=(times, chains, *shape))
    told = np.mean([np.linalg.norm(terms.mean(0), 2) > find_noise(terms) for terms in noises])
    assert told < 0.05 + 3 * np.sqrt(0.05 * 0.95 / times)


@pytest.mark.parametrize("tokens", [5, 50, 400])
def test_a_component_that_does_not_respond_is_seldom_said_to(responses, tokens):
    """Of so many components of pure noise few have a strength of more than three errors."""
    times = 1000
    terms = np.random.default_rng(tokens).normal(size=(8, times, tokens))
    record = SimpleNamespace(tokens=SimpleNamespace(weight=np.ones(tokens)))
    value, se = replace(responses[0], record=record, terms=terms).strength()
    assert np.mean(value > 3 * se) < 0.05
    assert np.std(value) < se.mean()


@pytest.mark.parametrize("chains", [8, 9, 16, 33])
def test_some_noise_patterns_part_any_two_chains(chains):
    """Where two chains differ from the others, by as much up as down, only signs that differ show it."""
    for pair in ([1, 2], [1, chains - 1], [chains - 2, chains - 1]):
        terms = np.zeros((chains, 1, 1))
        terms[pair, 0, 0] = 1.0, -1.0
        assert find_noise(terms) == pytest.approx(2 / (chains - 1))


def test_readings_of_other_tokens_are_not_compared(responses, tmp_path):
    other = read(tmp_path, rows=[1, 2], num_draws=256).susceptibilities()
    with pytest.raises(InputError, match="other components or other tokens"):
        lltc.spectra(responses[0], other)


@pytest.mark.parametrize(
    ("changed", "said"), [({"nbeta": 41.0}, "nβ 41, γ 10"), ({"localization": 9.0}, "γ 9,")]
)
def test_readings_of_other_posteriors_are_not_compared(responses, tmp_path, changed, said):
    other = read(tmp_path, num_draws=256, num_warmup=64, **changed).susceptibilities()
    with pytest.raises(InputError, match=rf"nβ 40, γ 10 and .*{said}.*passing them"):
        lltc.spectra(responses[0], other)


def test_what_is_told_of_chains_that_cannot_be_trusted_says_so(responses, tmp_path):
    record = responses[0].record
    estimate = replace(record.estimate, status=Status.few_draws)
    doubtful = replace(responses[0], record=replace(record, estimate=estimate))
    clusters = doubtful.cluster()
    results = (doubtful, doubtful.lines(), clusters, doubtful.patterning({"left": 1.0}))
    for result in (*results, lltc.spectra(doubtful, doubtful)):
        assert "few_draws" in repr(result).splitlines()[0]
    assert "the status of the chains is few_draws." in clusters.write_page(tmp_path / "page.html").read_text()
    assert " gone, ok → few_draws)" in repr(lltc.spectra(responses[0], doubtful))
    assert repr(clusters) == repr(responses[0].cluster()).replace(" in none)", " in none, few_draws)")


def test_responses_are_labelled_and_print(responses):
    table = responses[0].to_dataset()
    assert dict(table.sizes) == {"component": 2, "token": 400}
    assert float(table.chi.sel(component="right")[7]) == responses[0].chi.value[1, 7]
    assert "strongest first" in repr(responses[0])
    assert repr(responses[0].lines()).startswith("Lines(2 of 2 above the noise")
    assert repr(responses[0].patterning({"left": 1.0})).startswith("Patterning(2 of 2 modes")
