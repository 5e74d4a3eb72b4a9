"""Comparing independent runs: matching their transitions, and what permutations would give."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lltc.errors import InputError
from lltc.report.columns import average
from lltc.sweeps.comparison import Comparison, Partners, Stage
from lltc.sweeps.dictionary import WHOLE
from lltc.sweeps.matching import agreement, chance_of_order, find_reference, match_in_order
from lltc.sweeps.result import Sweep
from lltc.transitions import Transition


def compare(sweeps: Mapping[str, Sweep] | Sequence[Sweep], *, structure: str = WHOLE) -> Comparison:
    """Compare independent runs: their transitions matched in order, Δλ, and what changes with each.

    Two runs are matched one to one, in order, so that the summed similarity min(|Δλ|)/max(|Δλ|) is largest;
    changes of opposite sign, or whose sizes differ by more than a factor of two, do not match. The agreement
    of two runs is twice that sum over the number of their transitions. Both nulls are permutations: `chance`
    reorders the Δλ of every run but one and matches anew, `partner_chance` reorders in every run but one
    which stage has which partners; all orders are tried where they are few (2000), else 2000 drawn ones. So
    few stages bound it from below: two runs with three stages each give 1/6 at best.

    Args:
        sweeps: two or more sweeps by name (such as `lltc.Runs`), or in a list.
        structure: "llc", or the name of a component whose transitions are compared instead.

    Returns:
        A `Comparison` with `stages`, `agreement`, `plot`, `report` and `to_dataset`.

    Raises:
        InputError: for fewer than two sweeps, or a component that one of them does not have.

    Example:
        >>> from lltc.sweeps.matching import agreement
        >>> agreement([[1.6, 1.4, 1.2], [1.6, 1.4, 1.2]])
        1.0
    """
    named = _name(sweeps)
    found = {run: _transitions(run, swept, structure) for run, swept in named.items()}
    sizes = [[t.delta_llc for t in each] for each in found.values()]
    names = list(named)
    best = find_reference(sizes)
    matched = [dict(match_in_order(sizes[best], other)) for other in sizes]
    partners = {run: _partners(swept, found[run], structure) for run, swept in named.items()}
    stages = tuple(
        _stage({names[k]: pairs[place] for k, pairs in enumerate(matched) if place in pairs}, found, partners)
        for place in range(len(sizes[best]))
    )
    used = {run: set(matched[k].values()) for k, run in enumerate(names)}
    unmatched = {
        run: tuple(t for k, t in enumerate(each) if k not in used[run]) for run, each in found.items()
    }
    score = lambda orders: agreement([[run[i] for i in o] for run, o in zip(sizes, orders, strict=True)])
    known = any(sizes)
    return Comparison(
        named,
        structure,
        names[best],
        stages,
        unmatched,
        agreement(sizes),
        chance_of_order([len(run) for run in sizes], score) if known else float("nan"),
        *_compare_partners(stages, names),
    )


def _name(sweeps: Any) -> dict[str, Sweep]:
    """Return sweeps by name; those in a list are called after their folders, numbered where equal."""
    if isinstance(sweeps, Mapping):
        named = {str(name): swept for name, swept in sweeps.items()}
    else:
        folders = [swept.out.name for swept in sweeps]
        unique = len(set(folders)) == len(folders)
        named = {
            name if unique else f"{name} {place}": swept
            for place, (name, swept) in enumerate(zip(folders, sweeps, strict=True), 1)
        }
    if len(named) < 2:
        raise InputError(
            f"sweeps holds {len(named)}, but a comparison needs two or more; pass a list or lltc.Runs."
        )
    return named


def _transitions(run: str, swept: Sweep, structure: str) -> tuple[Transition, ...]:
    if structure == WHOLE:
        return swept.transitions
    if structure not in swept.component_transitions:
        raise InputError(
            f"structure={structure!r} is no component of run {run!r}, which has "
            f"{', '.join(swept.components) or 'none'}; pass 'llc' or one that all runs have."
        )
    return swept.component_transitions[structure]


def _partners(swept: Sweep, transitions: Sequence[Transition], structure: str) -> list[Partners]:
    dictionary = swept.dictionary()
    return [
        frozenset(f"{entry.change.kind} of {entry.partner}" for entry in dictionary.of(transition, structure))
        for transition in transitions
    ]


def _stage(
    places: dict[str, int], found: dict[str, tuple[Transition, ...]], partners: dict[str, list[Partners]]
) -> Stage:
    from scipy.special import chdtrc

    transitions = {run: found[run][place] for run, place in places.items()}
    sizes = np.array([t.delta_llc for t in transitions.values()])
    errors = np.array([t.delta_llc_se for t in transitions.values()])
    mean, se = average(sizes, errors)
    spread = np.sum(((sizes - np.average(sizes, weights=errors**-2.0)) / errors) ** 2)
    same = float(chdtrc(len(sizes) - 1, spread)) if len(sizes) > 1 else float("nan")
    return Stage(transitions, {run: partners[run][place] for run, place in places.items()}, mean, se, same)


def _compare_partners(stages: Sequence[Stage], names: Sequence[str]) -> tuple[float, float]:
    """Return the mean share of partners in common, and its chance; NaN where there are no partners."""
    if not any(partners for stage in stages for partners in stage.partners.values()):
        return float("nan"), float("nan")
    having = [[k for k, stage in enumerate(stages) if run in stage.partners] for run in names]
    given = [[stages[k].partners[run] for k in kept] for run, kept in zip(names, having, strict=True)]

    def score(orders: list[tuple[int, ...]]) -> float:
        placed = [
            {k: sets[i] for k, i in zip(kept, order, strict=True)}
            for kept, sets, order in zip(having, given, orders, strict=True)
        ]
        shares = [_common(a[k], b[k]) for a, b in combinations(placed, 2) for k in a.keys() & b.keys()]
        return float(np.mean(shares)) if shares else float("nan")

    sizes = [len(kept) for kept in having]
    return score([tuple(range(size)) for size in sizes]), chance_of_order(sizes, score)


def _common(first: Partners, second: Partners) -> float:
    return len(first & second) / len(first | second) if first | second else 1.0
