"""Stages: a transition as several runs show it, its size, and what changes with it in each."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from lltc.report.columns import average
from lltc.sweeps.reading.matching import chance_of_order
from lltc.transitions import Transition

Partners = frozenset[str]


class Stage(NamedTuple):
    """One transition as several runs show it.

    `transitions` and `partners` (what changes with it, as "fall of loss") are by run, for the runs that have
    it; `delta_llc ± delta_llc_se` is their inverse-variance mean, widened where they scatter more than their
    errors; `same_size` is the probability that equal sizes with these errors scatter as much (χ²).
    """

    transitions: dict[str, Transition]
    partners: dict[str, Partners]
    delta_llc: float
    delta_llc_se: float
    same_size: float

    @property
    def shared(self) -> tuple[str, ...]:
        """What changes with the stage in every run that has it."""
        return tuple(sorted(frozenset.intersection(*self.partners.values())))


def make_stage(
    places: dict[str, int], markers: dict[str, tuple[Transition, ...]], partners: dict[str, list[Partners]]
) -> Stage:
    """Return one stage of the runs whose transitions lie at `places`."""
    from scipy.special import chdtrc

    transitions = {run: markers[run][place] for run, place in places.items()}
    sizes = np.array([t.delta_llc for t in transitions.values()])
    errors = np.array([t.delta_llc_se for t in transitions.values()])
    mean, se = average(sizes, errors)
    spread = np.sum(((sizes - np.average(sizes, weights=errors**-2.0)) / errors) ** 2)
    same = float(chdtrc(len(sizes) - 1, spread)) if len(sizes) > 1 else float("nan")
    return Stage(transitions, {run: partners[run][place] for run, place in places.items()}, mean, se, same)


def compare_partners(stages: Sequence[Stage], names: Sequence[str]) -> tuple[float, float]:
    """Return the mean share of partners in common, and its chance; NaN where there are no partners."""
    if not any(partners for stage in stages for partners in stage.partners.values()):
        return float("nan"), float("nan")
    having = [[k for k, stage in enumerate(stages) if run in stage.partners] for run in names]
    given = [[stages[k].partners[run] for k in places] for run, places in zip(names, having, strict=True)]

    def score(orders: list[tuple[int, ...]]) -> float:
        placed = [
            {k: sets[i] for k, i in zip(places, order, strict=True)}
            for places, sets, order in zip(having, given, orders, strict=True)
        ]
        shares = [_common(a[k], b[k]) for a, b in combinations(placed, 2) for k in a.keys() & b.keys()]
        return float(np.mean(shares)) if shares else float("nan")

    sizes = [len(places) for places in having]
    return score([tuple(range(size)) for size in sizes]), chance_of_order(sizes, score)


def _common(first: Partners, second: Partners) -> float:
    return len(first & second) / len(first | second) if first | second else 1.0
