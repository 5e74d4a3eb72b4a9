"""Everything a store tells of a linear-Gaussian model, token by token, against its formula."""

from typing import Any

import numpy as np
import pytest

import lltc
from lltc.diagnostics.measured import Pairs
from tests.fluctuations.test_susceptibility import agree
from tests.fluctuations.tokens.gaussian import (
    DATA,
    EACH,
    EXAMPLE,
    EXAMPLES,
    GAMMA,
    LOSS,
    NBETA,
    OPTIONS,
    PHI,
    POINT,
    POSITION,
    SIZE,
    WEIGHT,
    covariances,
    likelihood,
    log_mean_exp,
    model,
    read,
    rise,
)

TOKENS = len(EXAMPLE)


def agree_both(contrast, exact, *, relative: float, of_prior: float):
    """The posterior's numbers and the prior's agree with `exact(nbeta)`."""
    agree(Pairs(contrast.value, contrast.se), exact(NBETA), relative=relative)
    agree(Pairs(contrast.control, contrast.control_se), exact(0.0), relative=of_prior)


def agree_numbers(contrast, exact):
    """The same of single numbers, which err by no more than their errors allow."""
    for (value, se), nbeta in ((contrast[:2], NBETA), (contrast[2:], 0.0)):
        assert abs(value - exact(nbeta)) < 4.5 * se
        assert se < 0.15 * abs(exact(nbeta))


@pytest.fixture(scope="module", params=[0, 1, 2])
def record(request, tmp_path_factory) -> Any:
    return read(tmp_path_factory.mktemp("store"), key=request.param)


def test_tokens_are_those_of_the_mask(record):
    np.testing.assert_array_equal(record.tokens.example, EXAMPLE)
    np.testing.assert_array_equal(record.tokens.position, POSITION)
    np.testing.assert_allclose(record.tokens.weight, WEIGHT)
    x, y, mask = DATA
    np.testing.assert_allclose(record.tokens.loss, 0.5 * ((x @ POINT - y) ** 2)[mask], rtol=1e-4, atol=1e-6)
    assert record.counts == (750, 188)


def test_the_estimate_is_the_one_without_readings(record, request):
    """And without exchange, which a kernel that is asked for leaves out, as readings do."""
    options = {name: value for name, value in OPTIONS.items() if name != "components"}
    options["kernel"] = lltc.kernels.ghmc()
    key = request.node.callspec.params["record"]
    alone = lltc.estimate_llc(model, POINT, DATA, key=key, **options)
    np.testing.assert_array_equal(record.estimate.draws, alone.draws[:, : record.estimate.num_draws])
    assert record.estimate.status is alone.status


def test_means_are_those_of_the_losses_kept(record):
    for number, losses in enumerate(record.losses()):
        np.testing.assert_allclose(losses @ WEIGHT, record.means()[number, :, 0], rtol=1e-4, atol=1e-6)
        if number == 3:
            break


def test_susceptibility_of_each_component_to_each_token(record):
    response = record.susceptibilities()
    exact = lambda nbeta: -covariances(PHI, [each - LOSS for each in EACH], nbeta)
    agree_both(response.chi, exact, relative=0.4, of_prior=0.4)
    np.testing.assert_allclose(response.chi.value @ WEIGHT, 0, atol=1e-5)


def test_correlations_are_covariances_over_standard_deviations(record):
    def exact(nbeta):
        others = [each - LOSS for each in EACH]
        of_phi = np.array([phi.covariance(phi, LOSS, nbeta, GAMMA) for phi in PHI])
        of_tokens = np.array([other.covariance(other, LOSS, nbeta, GAMMA) for other in others])
        return -covariances(PHI, others, nbeta) / np.sqrt(np.outer(of_phi, of_tokens))

    agree_both(record.susceptibilities().correlation, exact, relative=0.4, of_prior=0.4)


def test_susceptibility_with_one_component_alone(record):
    response = record.susceptibilities(alone=True)

    def exact(nbeta):
        kept = [np.arange(4) < 2, np.arange(4) >= 2]
        rows = [
            covariances([phi], [(each - LOSS).only(only, 1.0) for each in EACH], nbeta)[0]
            for phi, only in zip(PHI, kept, strict=True)
        ]
        return -np.array(rows)

    agree_both(response.chi, exact, relative=0.4, of_prior=0.4)


def test_loss_kernel_influence_and_variance(record):
    rows = [0, 5, TOKENS - 1]
    kernel = lambda nbeta: covariances([EACH[row] for row in rows], EACH, nbeta)
    agree_both(record.loss_kernel(rows), kernel, relative=0.3, of_prior=0.4)
    agree_both(record.influence(rows), lambda nbeta: -kernel(nbeta), relative=0.3, of_prior=0.4)
    variances = lambda nbeta: np.array([each.covariance(each, LOSS, nbeta, GAMMA) for each in EACH])
    agree_both(record.variance(), variances, relative=0.3, of_prior=0.4)
    first = np.flatnonzero(EXAMPLE == 2)
    by_name = record.influence({"third": first})
    exact = lambda nbeta: -covariances([EXAMPLES[2]], EACH, nbeta)
    agree_both(by_name, exact, relative=0.3, of_prior=0.5)


def test_posterior_loss_gain(record):
    whole = lambda nbeta: np.array([rise(each, nbeta) for each in EACH])
    agree_both(record.loss_gain(), whole, relative=0.3, of_prior=0.3)
    only = np.arange(4) < 2
    exact = lambda nbeta: np.array([rise(each.only(only, 1.0), nbeta) for each in EACH])
    agree_both(record.loss_gain("front"), exact, relative=0.3, of_prior=0.3)


@pytest.mark.parametrize("key", [0, 1, 2])
def test_singular_fluctuation_waic_and_wbic(tmp_path, key):
    record = read(tmp_path, model=likelihood, key=key, components=None)
    variances = lambda nbeta: sum(each.covariance(each, LOSS, nbeta, GAMMA) for each in EXAMPLES)
    agree_numbers(record.singular_fluctuation(), lambda nbeta: 0.5 * NBETA / SIZE * variances(nbeta))
    at_center = record.tokens.loss.mean()

    def waic(nbeta):
        gained = np.mean([log_mean_exp(each, nbeta) for each in EXAMPLES])
        return at_center - gained + NBETA / SIZE**2 * variances(nbeta)

    agree_numbers(record.waic(), waic)
    with pytest.raises(lltc.InputError, match=r"WBIC is n E\[L_n\] at nβ = n/ln n = 10.84"):
        record.wbic()


@pytest.mark.parametrize("key", [0, 1, 2])
def test_wbic_is_the_mean_of_the_whole_loss_at_its_own_temperature(tmp_path, key):
    record = read(tmp_path, model=likelihood, nbeta=None, num_draws=4000, key=key, components=None)
    nbeta = SIZE / np.log(SIZE)
    exact = SIZE * (record.tokens.loss.mean() + rise(LOSS, nbeta))
    contrast = record.wbic()
    assert abs(contrast.value - exact) < 4.5 * contrast.se < 0.2 * exact
    with pytest.raises(lltc.InputError, match="no components were read"):
        record.susceptibilities()


def test_sketched_kernel_errs_by_as_much_as_it_says(record):
    sketch = record.sketch_kernel(400)
    rows = np.arange(0, TOKENS, 7)
    exact = record.loss_kernel(rows).value
    value, se = sketch.entries(rows, np.arange(TOKENS))
    assert 0.5 < np.sqrt(np.mean(((value - exact) / se) ** 2)) < 1.5
    assert np.linalg.norm(value - exact) < 0.5 * np.linalg.norm(exact)


def test_losses_of_examples_are_the_means_of_their_tokens(record, tmp_path, request):
    """Read as examples, the same chains give the same numbers."""
    key = request.node.callspec.params["record"]
    examples = read(tmp_path, tokens=False, key=key, num_draws=512)
    assert examples.num_tokens == SIZE
    np.testing.assert_array_equal(examples.tokens.example, np.arange(SIZE))
    tokens = record.example_losses()
    for each, of_tokens, _ in zip(examples.losses(), tokens, range(8), strict=False):
        np.testing.assert_allclose(each, of_tokens, rtol=1e-3, atol=1e-6)


def test_the_record_prints_what_it_costs(record):
    lines = repr(record).splitlines()
    assert lines[0].startswith(f"LossRecord({TOKENS} tokens of {SIZE} examples, 2 components, 750 draws")
    assert " s for the reading, " in lines[2]
