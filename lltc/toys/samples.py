"""Inputs, moments and checks that problems on a sample share."""

from typing import Literal

import numpy as np

from lltc.errors import InputError

Point = Literal["minimum", "truth"]


def gaussian_inputs(rng, num_examples: int, dim: int, condition_number: float) -> np.ndarray:
    """Return normal inputs (n, d), float32, with the covariance of this `spectrum`."""
    spread = np.sqrt(spectrum(dim, condition_number)).astype(np.float32)
    return rng.standard_normal((num_examples, dim), dtype=np.float32) * spread


def spectrum(dim: int, condition_number: float) -> np.ndarray:
    """Return geometric eigenvalues from 1 down to `1/condition_number`."""
    return np.geomspace(1.0, 1.0 / condition_number, dim)


def moments(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return S and C in float64, block by block, so that a million examples need no second copy."""
    S, C = np.zeros((x.shape[1], x.shape[1])), np.zeros((x.shape[1], y.shape[1]))
    for i in range(0, len(x), 65536):
        block = x[i : i + 65536].astype(float)
        S += block.T @ block
        C += block.T @ y[i : i + 65536]
    return S / len(x), C / len(x)


def check_sample(at: str, num_examples: int, dim: int, condition_number: float) -> None:
    """Refuse an unknown point, too few examples, or a condition number below 1."""
    if at not in ("minimum", "truth"):
        raise InputError(f"at={at!r} is not a known point; give 'minimum' or 'truth'.")
    if num_examples <= dim:
        raise InputError(f"num_examples={num_examples} must exceed the {dim} inputs; give more examples.")
    if condition_number < 1:
        raise InputError(f"condition_number={condition_number} must be at least 1.")
