"""Losses of tokens quadratic in the weights: every number read off a store has a formula."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import lltc
from lltc.posterior.tokens import example_losses
from tests.fluctuations.test_susceptibility import Form

SIZE, LENGTH, WIDTH = 40, 6, 4
NBETA, GAMMA = 60.0, 2.0
PARTS = {"front": "[:2]", "back": "[2:]"}
KEPT = [np.arange(WIDTH) < 2, np.arange(WIDTH) >= 2]
OPTIONS: dict[str, Any] = {
    "components": PARTS,
    "nbeta": NBETA,
    "localization": GAMMA,
    "num_draws": 12_000,
    "progress": False,
}


def model(w, batch):
    """½(x·w - y)² of every token; what is masked is no number at all."""
    x, y, mask = batch
    return jnp.where(mask, 0.5 * (x @ w - y) ** 2, jnp.nan), mask


def likelihood(w, batch):
    """Return the mean of an example's tokens as the one loss that it has `(batch,)`."""
    return example_losses(model(w, batch))


def make_data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs, targets and a mask that leaves every example another number of tokens."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SIZE, LENGTH, WIDTH)).astype(np.float32)
    y = (x @ np.linspace(0.5, -0.5, WIDTH) + 0.5 * rng.normal(size=(SIZE, LENGTH))).astype(np.float32)
    mask = np.arange(LENGTH) < 1 + rng.integers(LENGTH, size=SIZE)[:, None]
    return x, y, mask


DATA = make_data()
POINT = np.array([0.6, 0.1, -0.2, -0.4], np.float32)
EXAMPLE, POSITION = np.nonzero(DATA[2])
WEIGHT = 1 / (SIZE * DATA[2].sum(1)[EXAMPLE])


def form(rows: np.ndarray, weights: np.ndarray) -> Form:
    """Return the weighted sum of tokens' losses, without their value at w*."""
    x, y = DATA[0][DATA[2]][rows].astype(float), DATA[1][DATA[2]][rows].astype(float)
    residual = weights * (x @ POINT.astype(float) - y)
    return Form(x.T @ residual, (weights[:, None] * x).T @ x)


LOSS = form(np.arange(len(EXAMPLE)), WEIGHT)
EACH = [form(np.array([token]), np.ones(1)) for token in range(len(EXAMPLE))]
EXAMPLES = [form(np.flatnonzero(i == EXAMPLE), SIZE * WEIGHT[i == EXAMPLE]) for i in range(SIZE)]
PHI = [LOSS.only(kept, NBETA) for kept in KEPT]


def gaussian(nbeta: float) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of w - w*."""
    sigma = np.linalg.inv(nbeta * LOSS.hessian + GAMMA * np.eye(WIDTH))
    return -sigma @ (nbeta * LOSS.gradient), sigma


def rise(some: Form, nbeta: float) -> float:
    """Return E[ℓ] - ℓ(w*)."""
    mean, sigma = gaussian(nbeta)
    return some.gradient @ mean + 0.5 * mean @ some.hessian @ mean + 0.5 * np.trace(some.hessian @ sigma)


def log_mean_exp(some: Form, nbeta: float) -> float:
    """Return ln E[exp(-(ℓ - ℓ(w*)))], a Gaussian integral."""
    mean, sigma = gaussian(nbeta)
    tilt = some.gradient + some.hessian @ mean
    together = np.linalg.inv(np.linalg.inv(sigma) + some.hessian)
    log_det = np.linalg.slogdet(np.eye(WIDTH) + sigma @ some.hessian)[1]
    at_mean = some.gradient @ mean + 0.5 * mean @ some.hessian @ mean
    return -at_mean + 0.5 * tilt @ together @ tilt - 0.5 * log_det


def covariances(left: list[Form], right: list[Form], nbeta: float) -> np.ndarray:
    """Return their covariances, `(left, right)`."""
    return np.array([[a.covariance(b, LOSS, nbeta, GAMMA) for b in right] for a in left])


def read(folder: Path, *, model: Any = model, **changed: Any) -> lltc.LossRecord:
    """Read the tokens into a folder."""
    return lltc.read(model, POINT, DATA, store=folder, **(OPTIONS | changed))
