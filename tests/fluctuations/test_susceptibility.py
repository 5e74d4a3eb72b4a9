"""Susceptibilities of quadratic and linear losses: every covariance is known exactly, by Wick's theorem."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from lltc import estimate_llc
from lltc.diagnostics.covariances import covariance
from lltc.diagnostics.measured import Pairs
from lltc.fluctuations.susceptibility import susceptibilities
from lltc.report.wording import measured
from tests.problems import regression

SIZE, WIDTH, NBETA, GAMMA = 400, 5, 60.0, 2.0


def linear_or_squared(w, batch):
    """½(x·w - y)², or a plain x·w where the example says so."""
    x, y, linear = batch
    return jnp.where(linear, x @ w, 0.5 * (x @ w - y) ** 2)


def changed(data, *, factor=1.0, rows=slice(None)):
    x, y, linear = (a[rows] for a in data)
    return factor * x, factor * y, linear


_, MINIMUM, NOISY = regression(0, SIZE, WIDTH)
POINT = MINIMUM + np.array([0.1, 0, -0.1, 0.05, 0], np.float32)
DATA = (*NOISY, np.arange(SIZE) < 2)
PARTS = {"front": "[:2]", "back": "[2:]", "all": "*"}
SLICES = {
    "same": DATA,
    "first": changed(DATA, rows=slice(100)),
    "loud": changed(DATA, factor=1.5),
    "linear": changed(DATA, rows=slice(2)),
}
ROWS = [0, 1, 250]
OPTIONS: dict[str, Any] = {"nbeta": NBETA, "localization": GAMMA, "num_draws": 12_000, "progress": False}
PROBES: dict[str, Any] = {"components": PARTS, "slices": SLICES, "rows": ROWS}


class Form:
    """g·u + ½ u'Hu in u = w - w*, its covariance with another over a Gaussian exact by Wick's theorem."""

    def __init__(self, gradient: np.ndarray, hessian: np.ndarray):
        self.gradient, self.hessian = gradient, hessian

    @classmethod
    def of(cls, data, point=POINT):
        x, y, linear = np.asarray(data[0], float), np.asarray(data[1], float), np.asarray(data[-1], float)
        linear = linear if len(data) == 3 else np.zeros(len(x))
        residual = (1 - linear) * (x @ point - y) + linear
        return cls(x.T @ residual / len(x), (1 - linear) * x.T @ x / len(x))

    def __sub__(self, other):
        return Form(self.gradient - other.gradient, self.hessian - other.hessian)

    def only(self, kept, factor):
        return Form(factor * self.gradient * kept, factor * self.hessian * np.outer(kept, kept))

    def covariance(self, other, loss, nbeta=NBETA, gamma=GAMMA):
        sigma = np.linalg.inv(nbeta * loss.hessian + gamma * np.eye(len(loss.gradient)))
        mean = -sigma @ (nbeta * loss.gradient)
        left, right = (form.gradient + form.hessian @ mean for form in (self, other))
        return left @ sigma @ right + 0.5 * np.trace(self.hessian @ sigma @ other.hessian @ sigma)


LOSS = Form.of(DATA)
KEPT = {"front": np.arange(WIDTH) < 2, "back": np.arange(WIDTH) >= 2, "all": np.ones(WIDTH, bool)}
PHI = [LOSS.only(KEPT[name], NBETA) for name in PARTS]
EACH = [Form.of(changed(DATA, rows=slice(i, i + 1))) for i in range(SIZE)]


def table(left, right, loss=LOSS, **at):
    return np.array([[a.covariance(b, loss, **at) for b in right] for a in left])


def agree(pairs, exact, *, relative: float):
    """Errors are of the size they claim, and small.

    Entries share their eight chains and may all be off together, as one number whose error has seven degrees
    of freedom: Student's t exceeds 4.5 with probability 0.003.
    """
    value, se = pairs
    assert np.sqrt(np.mean(((value - exact) / se) ** 2)) < 4.5
    assert np.linalg.norm(value - exact) < 4.5 * np.linalg.norm(se)
    assert np.linalg.norm(se) < relative * np.linalg.norm(exact)


@pytest.fixture(scope="module")
def found() -> Any:
    return susceptibilities(linear_or_squared, POINT, DATA, **PROBES, **OPTIONS)


def test_susceptibility_of_each_component_to_each_slice(found):
    exact = -table(PHI, [Form.of(some) - LOSS for some in SLICES.values()])
    np.testing.assert_allclose(found.chi.value[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(exact[:, 0], 0, atol=1e-12)
    agree(Pairs(*(part[:, 1:] for part in found.chi)), exact[:, 1:], relative=0.15)


def test_susceptibility_to_a_slice_is_the_mean_attribution_of_its_examples(found):
    share = found.loss_kernel.attribution.value
    np.testing.assert_allclose(share[:, :100].mean(1), found.chi.value[:, 1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(share.mean(1), 0, atol=1e-6)
    agree(found.loss_kernel.attribution, -table(PHI, EACH) + table(PHI, [LOSS]), relative=0.5)


def test_heat_capacity_is_the_sum_over_the_loss_kernel(found):
    exact = NBETA**2 * LOSS.covariance(LOSS, LOSS)
    value, se = found.heat_capacity
    assert abs(value - exact) < 3.5 * se < 0.35 * exact
    loss = found.readings.loss
    read = NBETA**2 * covariance(loss, loss).value
    assert NBETA**2 * found.loss_kernel.mean.value.mean() == pytest.approx(read, rel=1e-4)
    assert abs(read - value) < 3.5 * se
    rows = found.loss_kernel.values.value
    np.testing.assert_allclose(rows.mean(1), found.loss_kernel.mean.value[ROWS], rtol=1e-4, atol=1e-6)


def test_singular_fluctuation_is_the_sum_of_the_examples_variances(found):
    variances = np.array([form.covariance(form, LOSS) for form in EACH])
    value, se = found.singular_fluctuation
    exact = 0.5 * NBETA / SIZE * variances.sum()
    assert abs(value - exact) < 3.5 * se < 0.2 * exact
    agree(found.loss_kernel.variance, variances, relative=0.1)


def test_loss_kernel_and_influence(found):
    kernel = found.loss_kernel
    agree(kernel.values, table([EACH[i] for i in ROWS], EACH), relative=0.1)
    agree(kernel.mean, table([LOSS], EACH)[0], relative=0.3)
    agree(kernel.influence, -table([Form.of(some) for some in SLICES.values()], EACH), relative=0.3)
    for place, row in enumerate(ROWS):
        assert kernel.values.value[place, row] == pytest.approx(kernel.variance.value[row], rel=1e-6)


def test_losses_linear_in_the_weights_covary_by_the_damped_inverse_hessian(found):
    """Cov(a·w, b·w) = a'(nβH + γ)⁻¹b, the influence function's inverse without an inversion."""
    inverse = np.linalg.inv(NBETA * LOSS.hessian + GAMMA * np.eye(WIDTH))
    a = np.asarray(DATA[0][:2], float)
    agree(
        Pairs(found.loss_kernel.values.value[:2, :2], found.loss_kernel.values.se[:2, :2]),
        a @ inverse @ a.T,
        relative=0.1,
    )
    mean = Pairs(found.loss_kernel.influence.value[3, :2], found.loss_kernel.influence.se[3, :2])
    agree(mean, -a.mean(0) @ inverse @ a.T, relative=0.1)


def test_the_estimate_is_the_one_without_readings(found):
    alone = estimate_llc(linear_or_squared, POINT, DATA, **OPTIONS)
    np.testing.assert_array_equal(found.estimate.draws, alone.draws)
    assert found.estimate.llc_se == alone.llc_se


def test_the_record_is_labelled_and_prints(found):
    table = found.to_dataset()
    assert dict(table.sizes) == {"component": 3, "slice": 4, "example": SIZE, "row": 3}
    assert float(table.chi.sel(component="back", slice="loud")) == found.chi.value[1, 2]
    assert float(table.chi_se.sel(component="front", slice="first")) == found.chi.se[0, 1]
    at = table.loss_kernel.sel(row=1, example=3)
    assert float(at) == found.loss_kernel.values.value[1, 3]
    assert float(table.singular_fluctuation_se) == found.singular_fluctuation.se
    assert table.attrs == {"nbeta": NBETA, "localization": GAMMA, "status": found.estimate.status.name}
    lines = repr(found).splitlines()
    assert lines[0].startswith(f"Susceptibilities(heat capacity {measured(*found.heat_capacity)}, ")
    assert lines[2].startswith(f"  back   same {measured(found.chi.value[1, 0], found.chi.se[1, 0])}, ")
    assert repr(found.loss_kernel) == "LossKernel(400 examples, 3 rows, 4 slices, 3 components)"


def test_a_wide_table_prints_cut(found):
    names = tuple("abcdefghijkl")
    wide = replace(found, components=names, slices=names, chi=Pairs(np.ones((12, 12)), np.zeros((12, 12))))
    lines = repr(wide).splitlines()
    assert len(lines) == 10
    assert lines[8] == "  h  " + ", ".join(f"{name} 1 ± 0" for name in names[:8]) + ", …"
    assert lines[9] == "  … and 4 more components"


def test_without_data_only_the_prior_is_left(found):
    """As nβ → 0 covariances become those of the prior: what the data add, and all that carries nβ, vanish."""
    options: dict[str, Any] = OPTIONS | {"nbeta": 1e-4}
    prior: Any = susceptibilities(linear_or_squared, POINT, DATA, **PROBES, **options)
    exact = -table([Form.of(some) for some in SLICES.values()], EACH, nbeta=0.0)
    agree(prior.loss_kernel.influence, exact, relative=0.1)
    assert np.linalg.norm(found.loss_kernel.influence.value - exact) > 0.9 * np.linalg.norm(exact)
    np.testing.assert_allclose(prior.chi.value / found.chi.value[1, 2], 0, atol=1e-2)
    assert prior.heat_capacity.value < 1e-4 * found.heat_capacity.value
    assert prior.singular_fluctuation.value < 1e-3 * found.singular_fluctuation.value
