"""Stages of several runs: their transitions matched in order, and how much would agree by chance."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations, product
from math import factorial, prod

import numpy as np

LEAST = 0.5
MOST_TRIED = 2000


def similarity(first: float, second: float) -> float:
    """Return the smaller change over the larger one; 0 for opposite signs, or a ratio below ½.

    Example:
        >>> similarity(1.0, 2.0), similarity(1.0, -1.0), similarity(1.0, 3.0)
        (0.5, 0.0, 0.0)
    """
    if first * second <= 0:
        return 0.0
    ratio = min(abs(first), abs(second)) / max(abs(first), abs(second))
    return ratio if ratio >= LEAST else 0.0


def match_in_order(first: Sequence[float], second: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Match two sequences of changes one to one, in order, so that the sum of similarities is largest.

    Example:
        >>> match_in_order([6.0, 2.0, 1.0], [5.0, 1.0])
        ((0, 0), (2, 1))
    """
    total = _totals(first, second)
    i, j = len(first), len(second)
    pairs = []
    while i and j:
        if total[i, j] == total[i - 1, j]:
            i -= 1
        elif total[i, j] == total[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return tuple(reversed(pairs))


def agreement(runs: Sequence[Sequence[float]]) -> float:
    """Return the mean over pairs of runs of twice the matched similarity over the number of changes, 0 to 1.

    Example:
        >>> agreement([[6.0, 2.0], [6.0, 2.0]]), agreement([[6.0, 2.0], [2.0, 6.0]])
        (1.0, 0.5)
    """
    shares = [
        2 * _totals(a, b)[-1, -1] / (len(a) + len(b)) for a, b in combinations(runs, 2) if len(a) + len(b)
    ]
    return float(np.mean(shares)) if shares else float("nan")


def find_reference(runs: Sequence[Sequence[float]]) -> int:
    """Return the run whose changes agree best with all others'."""
    scores = [sum(agreement([run, other]) for other in runs if len(run) + len(other)) for run in runs]
    return int(np.argmax(scores))


def chance_of_order(sizes: Sequence[int], score: Callable[[list[tuple[int, ...]]], float]) -> float:
    """Return the share of reorderings whose score is at least that of the order given.

    Null: in every run but the first any order of its `sizes[run]` items is as likely. All orders are tried
    where they are 2000 or fewer, else 2000 drawn with a fixed seed, the given order counting as one of them.
    NaN where the score is: there is nothing to compare.
    """
    given = score([tuple(range(size)) for size in sizes])
    if np.isnan(given):
        return float("nan")
    tried = [score(orders) for orders in _reorderings(sizes)]
    return float(np.mean(np.array(tried) >= given - 1e-9))


def _reorderings(sizes: Sequence[int]) -> Iterator[list[tuple[int, ...]]]:
    first = tuple(range(sizes[0]))
    if prod(factorial(size) for size in sizes[1:]) <= MOST_TRIED:
        for orders in product(*(permutations(range(size)) for size in sizes[1:])):
            yield [first, *orders]
        return
    rng = np.random.default_rng(0)
    yield [tuple(range(size)) for size in sizes]
    for _ in range(MOST_TRIED - 1):
        yield [first, *(tuple(rng.permutation(size)) for size in sizes[1:])]


def _totals(first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """Return the largest sum of similarities of every pair of beginnings, `(len(first)+1, len(second)+1)`."""
    total = np.zeros((len(first) + 1, len(second) + 1))
    for i, a in enumerate(first, 1):
        for j, b in enumerate(second, 1):
            matched = total[i - 1, j - 1] + similarity(a, b)
            total[i, j] = max(total[i - 1, j], total[i, j - 1], matched)
    return total
