"""Asymptotic learning coefficients that can be written down, as pairs (λ, m)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from lltc.errors import InputError


class LearningCoefficient(NamedTuple):
    """The pair (λ, m) of the volume law `vol{K < ε} ~ c ε^λ (-log ε)^(m-1)`.

    Source: Watanabe 2009, chapter 6.

    Example:
        >>> LearningCoefficient(llc=2.5, multiplicity=1).llc
        2.5
    """

    llc: float
    multiplicity: int


def regular_llc(num_params: int) -> LearningCoefficient:
    """Return (d/2, 1), the value of a regular model with d parameters.

    Raises:
        InputError: a negative `num_params`.

    Example:
        >>> regular_llc(7)
        LearningCoefficient(llc=3.5, multiplicity=1)
    """
    _check_counts(num_params=num_params)
    return LearningCoefficient(num_params / 2, 1)


def even_powers_llc(half_exponents: Sequence[int]) -> LearningCoefficient:
    """Return (Σ 1/(2kᵢ), 1), the value of `K = Σ cᵢ wᵢ^{2kᵢ}` with positive cᵢ.

    At localization 0 it is also the exact λ̂ at every nbeta.

    Raises:
        InputError: an empty list or an entry below 1.

    Example:
        >>> even_powers_llc([1, 2])
        LearningCoefficient(llc=0.75, multiplicity=1)
    """
    if not half_exponents or min(half_exponents) < 1:
        raise InputError(
            f"half_exponents={list(half_exponents)} must be a non-empty list of whole numbers >= 1."
        )
    return LearningCoefficient(sum(1 / (2 * k) for k in half_exponents), 1)


def normal_crossing_llc(
    half_exponents: Sequence[int], *, dims: Sequence[int] | None = None
) -> LearningCoefficient:
    """Return (min dᵢ/(2kᵢ), ties), the value of `K = Π ‖wᵢ‖^{2kᵢ}`, wᵢ of dᵢ variables, by default one.

    Factors with kᵢ = 0 do not count. Source: Watanabe 2009, section 3.

    Raises:
        InputError: a negative entry, or no positive one; `dims` of another length or below 1.

    Example:
        >>> normal_crossing_llc([1, 2, 2])
        LearningCoefficient(llc=0.25, multiplicity=2)
    """
    if not half_exponents or min(half_exponents) < 0 or max(half_exponents) == 0:
        raise InputError(
            f"half_exponents={list(half_exponents)} must hold whole numbers >= 0, and at least one positive."
        )
    dims = [1] * len(half_exponents) if dims is None else dims
    if len(dims) != len(half_exponents) or min(dims) < 1:
        raise InputError(f"dims={list(dims)} must hold {len(half_exponents)} whole numbers >= 1.")
    pairs = zip(dims, half_exponents, strict=True)
    return multiply_llc(*(LearningCoefficient(dim / (2 * k), 1) for dim, k in pairs if k))


def add_llc(*parts: LearningCoefficient) -> LearningCoefficient:
    """Return the value of a sum of losses over disjoint variables: λ adds, `m = 1 + Σ (mᵢ - 1)`.

    Raises:
        InputError: no part given.

    Example:
        >>> add_llc(regular_llc(2), normal_crossing_llc([1, 1]))
        LearningCoefficient(llc=1.5, multiplicity=2)
    """
    if not parts:
        raise InputError("add_llc received no learning coefficients; give at least one.")
    return LearningCoefficient(sum(p.llc for p in parts), 1 + sum(p.multiplicity - 1 for p in parts))


def multiply_llc(*parts: LearningCoefficient) -> LearningCoefficient:
    """Return the value of a product of losses over disjoint variables: the smallest λ, m summed over ties.

    Raises:
        InputError: no part given.

    Example:
        >>> multiply_llc(regular_llc(1), regular_llc(1), regular_llc(2))
        LearningCoefficient(llc=0.5, multiplicity=2)
    """
    if not parts:
        raise InputError("multiply_llc received no learning coefficients; give at least one.")
    smallest = min(p.llc for p in parts)
    return LearningCoefficient(smallest, sum(p.multiplicity for p in parts if math.isclose(p.llc, smallest)))


def tanh_network_llc(hidden: int) -> LearningCoefficient:
    """Return (λ, m) of `Σ_{h ≤ H} a_h tanh(b_h x)` when the truth is 0.

    `i = ⌊√H⌋`, `λ = (H + i² + i)/(4i + 2)`, m = 2 when `i² = H`, else 1. Source: Watanabe 2009, section 7.

    Raises:
        InputError: `hidden` below 1.

    Example:
        >>> tanh_network_llc(1)
        LearningCoefficient(llc=0.5, multiplicity=2)
    """
    _check_counts(lowest=1, hidden=hidden)
    i = math.isqrt(hidden)
    return LearningCoefficient((hidden + i * i + i) / (4 * i + 2), 2 if i * i == hidden else 1)


def quadratic_network_llc(*, inputs: int, hidden: int, rank: int) -> LearningCoefficient:
    """Return (λ, 1) of `Σ_{h ≤ H} (w_h·x)²`, x in N dimensions, squared loss, at a true `WᵀW` of rank r.

    `λ = [rN - r(r-1)/2]/2 + (N-r)(H-r)/4`: the first bracket counts the regular directions of a symmetric
    matrix of rank r; what is left, its Schur complement, is `VᵀV` with V (H-r, N-r), of a loss between two
    multiples of `‖V‖⁴`.

    Raises:
        InputError: a count below 0 or `rank` above `inputs` or `hidden`.

    Example:
        >>> quadratic_network_llc(inputs=3, hidden=3, rank=3).llc
        3.0
    """
    _check_counts(inputs=inputs, hidden=hidden, rank=rank)
    if rank > min(inputs, hidden):
        raise InputError(
            f"rank={rank} is impossible with inputs={inputs} and hidden={hidden}; give a smaller one."
        )
    regular = rank * inputs - rank * (rank - 1) / 2
    return LearningCoefficient(regular / 2 + (inputs - rank) * (hidden - rank) / 4, 1)


def gaussian_mixture_llc(free_means: int) -> LearningCoefficient:
    """Return (λ, m) of a two-component unit-variance normal mixture whose truth is one component.

    `free_means=1`: `(1-a)N(0,1) + aN(b,1)` gives (½, 2) at a = b = 0.
    `free_means=2`: `aN(b₁,1) + (1-a)N(b₂,1)` gives (¾, 1) at b₁ = b₂, 0 < a < 1. Source: Watanabe 2009.

    Raises:
        InputError: `free_means` other than 1 or 2.

    Example:
        >>> gaussian_mixture_llc(2)
        LearningCoefficient(llc=0.75, multiplicity=1)
    """
    if free_means not in (1, 2):
        raise InputError(f"free_means={free_means} has no known value; give 1 or 2.")
    return LearningCoefficient(0.5, 2) if free_means == 1 else LearningCoefficient(0.75, 1)


def superposition_llc(sides: int) -> LearningCoefficient:
    """Return ((3c - 1)/2, 1) of the c-gon in the toy model of superposition: c features, 2 dimensions.

    One of the 3c parameters is lost to the rotation. Source: Chen et al. 2023 (arXiv 2310.06301), section 4.

    Raises:
        InputError: `sides` outside 5…8 (the loss is only once differentiable at the 4-gon).

    Example:
        >>> superposition_llc(6).llc
        8.5
    """
    if not 5 <= sides <= 8:
        raise InputError(f"sides={sides} has no known value; give 5, 6, 7 or 8.")
    return LearningCoefficient((3 * sides - 1) / 2, 1)


def _check_counts(lowest: int = 0, **counts: int) -> None:
    for name, count in counts.items():
        if int(count) != count or count < lowest:
            raise InputError(f"{name}={count} must be a whole number >= {lowest}.")
