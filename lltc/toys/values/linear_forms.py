"""Learning coefficients of linear networks: reduced rank regression and any depth."""

from collections.abc import Sequence
from itertools import combinations

from lltc.errors import InputError
from lltc.toys.values.closed_forms import LearningCoefficient


def reduced_rank_llc(*, inputs: int, hidden: int, outputs: int, rank: int) -> LearningCoefficient:
    """Return (λ, m) of the two-layer linear network `BA`, A (H, N) and B (M, H), at a true map of rank r.

    With N inputs, H hidden, M outputs: if `N+r ≤ M+H`, `M+r ≤ N+H` and `H+r ≤ M+N`,

        λ = [2(H+r)(M+N) - (M-N)² - (H+r)²] / 8,   plus 1/8 and m = 2 when M+N+H+r is odd;

    if `M+H < N+r`, `(HM - Hr + Nr)/2`; if `N+H < M+r`, `(HN - Hr + Mr)/2`; if `M+N < H+r`, `MN/2`.
    It is the smallest value over the points that represent the map. Source: Aoyagi & Watanabe 2005.

    Raises:
        InputError: a width below 0, or `rank` above the smallest width.

    Example:
        >>> reduced_rank_llc(inputs=5, hidden=3, outputs=5, rank=0)
        LearningCoefficient(llc=6.5, multiplicity=2)
    """
    _check_rank((inputs, hidden, outputs), rank)
    N, H, M, r = inputs, hidden, outputs, rank
    if N + r > M + H:
        return LearningCoefficient((H * M - H * r + N * r) / 2, 1)
    if M + r > N + H:
        return LearningCoefficient((H * N - H * r + M * r) / 2, 1)
    if H + r > M + N:
        return LearningCoefficient(M * N / 2, 1)
    odd = (M + N + H + r) % 2
    return LearningCoefficient((2 * (H + r) * (M + N) - (M - N) ** 2 - (H + r) ** 2 + odd) / 8, 1 + odd)


def reduced_rank_llc_at(
    *, inputs: int, hidden: int, outputs: int, rank: int, first_rank: int, second_rank: int
) -> LearningCoefficient:
    """Return (λ, m) of the two-layer linear network `BA` at one point, rank A = a and rank B = b.

        ½ [r(M+N-r) + (a-r)(M-r) + (b-r)(N-a)] + λ(in N-a, hidden H-a-b+r, out M-b, rank 0).

    It can exceed the smallest value over the fibre: 2,2,2 at rank 0 gives 2 at ranks (2, 0), 3/2 elsewhere.

    Raises:
        InputError: ranks no pair of matrices of these shapes can have.

    Example:
        >>> reduced_rank_llc_at(inputs=2, hidden=2, outputs=2, rank=0, first_rank=2, second_rank=0).llc
        2.0
    """
    _check_rank((inputs, hidden, outputs), rank)
    N, H, M, r, a, b = inputs, hidden, outputs, rank, first_rank, second_rank
    if not (r <= a <= min(N, H) and r <= b <= min(M, H) and a + b - r <= H):
        raise InputError(
            f"first_rank={a} and second_rank={b} cannot occur at rank={r} with hidden={H}: each must lie "
            f"between rank and its matrix's smaller side, and their sum must not exceed hidden + rank."
        )
    regular = (r * (M + N - r) + (a - r) * (M - r) + (b - r) * (N - a)) / 2
    rest = reduced_rank_llc(inputs=N - a, hidden=H - a - b + r, outputs=M - b, rank=0)
    return LearningCoefficient(regular + rest.llc, rest.multiplicity)


def deep_linear_llc(widths: Sequence[int], *, rank: int) -> LearningCoefficient:
    """Return (λ, m) of the linear network of widths d₀…d_L at a true map of rank r.

    Sort `Mᵢ = dᵢ - r` and take the shortest prefix of ℓ+1 ≥ 2 entries, of sum S, with `S ≥ ℓ max(prefix)`
    and `S < ℓ · next` unless nothing is left. With `c = ⌈S/ℓ⌉`, `a = S - (c-1)ℓ`:

        λ = [r(d₀+d_L) - r²]/2 + a(ℓ-a)/(4ℓ) - (ℓ-1)S²/(4ℓ) + ½ Σ_{i<j} MᵢMⱼ,   m = a(ℓ-a) + 1.

    Source: Aoyagi 2024.

    Raises:
        InputError: fewer than two widths, a width below 1, or `rank` above the smallest width.

    Example:
        >>> deep_linear_llc([5, 5, 5, 5, 5], rank=0)
        LearningCoefficient(llc=8.0, multiplicity=4)
    """
    if len(widths) < 2 or min(widths) < 1:
        raise InputError(f"widths={list(widths)} must list at least an input and an output width, all >= 1.")
    _check_rank(widths, rank)
    prefix = _critical_prefix(sorted(width - rank for width in widths))
    layers, total = len(prefix) - 1, sum(prefix)
    a = total - (-(-total // layers) - 1) * layers
    pairs = sum(x * y for x, y in combinations(prefix, 2))
    regular = (rank * (widths[0] + widths[-1]) - rank * rank) / 2
    singular = (a * (layers - a) - (layers - 1) * total**2 + 2 * layers * pairs) / (4 * layers)
    return LearningCoefficient(regular + singular, a * (layers - a) + 1)


def _critical_prefix(surplus: list[int]) -> list[int]:
    for layers in range(1, len(surplus)):
        prefix, rest = surplus[: layers + 1], surplus[layers + 1 :]
        if sum(prefix) >= layers * prefix[-1] and (not rest or sum(prefix) < layers * rest[0]):
            return prefix
    raise AssertionError("every sorted list of non-negative surpluses has a critical prefix")


def _check_rank(widths: Sequence[int], rank: int) -> None:
    if min(widths) < 0 or not 0 <= rank <= min(widths) or int(rank) != rank:
        raise InputError(
            f"rank={rank} is impossible with widths={list(widths)}; give a whole rank between 0 and the "
            f"smallest width."
        )
