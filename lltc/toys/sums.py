"""Sums of losses over disjoint variables."""

from functools import reduce
from operator import add
from typing import Any

import jax

from lltc.errors import InputError
from lltc.toys.problems import ToyProblem
from lltc.toys.values.closed_forms import LearningCoefficient, add_llc
from lltc.toys.values.gibbs import Reference


def disjoint_sum(name: str, *problems: ToyProblem) -> ToyProblem:
    """Return the sum of losses over disjoint variables: λ̂ adds, exactly, and so does λ.

    `params` is `{"part1": …, …}`; the i-th example is made of the parts' i-th.

    Raises:
        InputError: no part; one without a value; parts of different `nbeta`, `localization`, `num_examples`
            or `linear`.

    Example:
        >>> from lltc.toys import even_powers, quadratic
        >>> disjoint_sum("both", quadratic([1.0], nbeta=1.0), even_powers([2], nbeta=1.0)).llc
        0.75
    """
    settings = {(p.nbeta, p.localization, p.num_examples, p.linear) for p in problems}
    if len(settings) != 1:
        raise InputError(
            f"problems have (nbeta, localization, num_examples, linear) = {sorted(settings)}; give at least "
            "one, and all with the same."
        )
    if any(p.reference is None for p in problems):
        raise InputError("problems must all have a reference; leave out those without.")
    nbeta, localization, _, linear = settings.pop()
    parts = {f"part{i}": problem for i, problem in enumerate(problems, start=1)}
    limits = [
        LearningCoefficient(p.llc, p.multiplicity) for p in problems if p.llc is not None and p.multiplicity
    ]
    known = add_llc(*limits) if len(limits) == len(problems) else None

    def model(params: Any, batch: Any) -> jax.Array:
        return reduce(add, (part.model(params[key], batch[key]) for key, part in parts.items()))

    def reference() -> Reference:
        values = [p.llc_finite for p in problems if p.llc_finite is not None]
        return Reference(sum(values), sum(p.llc_finite_se**2 for p in problems) ** 0.5)

    return ToyProblem(
        name=name,
        model=model,
        params={key: part.params for key, part in parts.items()},
        data={key: part.data for key, part in parts.items()},
        nbeta=nbeta,
        localization=localization,
        llc=known and known.llc,
        multiplicity=known and known.multiplicity,
        reference=reference,
        linear=linear,
    )
