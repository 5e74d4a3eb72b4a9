"""Probing a transition: what changed between two checkpoints."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import jax
import numpy as np

from lltc.compilation import broadcasting
from lltc.diagnostics.measured import Measured
from lltc.errors import InputError
from lltc.estimates.effort import fitted
from lltc.estimates.estimator import draw_estimates
from lltc.estimates.options import Options, arrange, complete
from lltc.posterior.checks import check_flag
from lltc.posterior.components import Restriction, list_components, name_components, select
from lltc.posterior.data import Data, as_data
from lltc.posterior.layout import center_vector, moved_mask
from lltc.posterior.target import LocalPosterior, restricted
from lltc.probes.alike import check_same_network, check_same_posterior
from lltc.probes.record import ComponentChange, ExampleChange, Probe
from lltc.probes.sampled import Seen, watch
from lltc.probes.stiffness import compare_stiffness
from lltc.types import LossFn, PyTree


@broadcasting
def probe(
    model: LossFn | LocalPosterior,
    before: PyTree | LocalPosterior,
    after: PyTree = None,
    data: PyTree | Data = None,
    *,
    components: Mapping[str, Restriction] | Sequence[str] | None = None,
    refine: bool = False,
    directions: int = 64,
    examples: int = 1024,
    **options: Unpack[Options],
) -> Probe:
    """Report what changed between two checkpoints: where, in which directions, for which examples.

    Both are sampled as by `lltc.estimate_llc`, at one nβ, one γ and one key. From the same chains::

        stiffness      of each eigenvector v of the Hessian at w* with curvature h, the share nβ h Var[v·w] of
                       its confinement that h explains: nβh/(nβh + γ) on a quadratic, 0 along x⁴. It is stiff
                       where that is ½ or more
        stiffened      dimensions of the space that is stiff after at 60° or more from the one that was before
                       (principal angles); softened, the reverse
        participation  (Σ|c|)²/Σc² over the changes c of stiffness, eigenvalues of ΔS, S = Σ min(share, 1)vvᵀ:
                       to how many directions the change amounts
        Δλ̂            in whole, and divided among components, λ_C = ½S_C + ρ(d_C - γE‖u_C‖² - S_C) with
                       u = w - w* and S_C the trace of S in C. d_C - γE‖u_C‖² = nβE[u_C·∇_C L] is all of C's
                       confinement by the loss, the bracket what is not quadratic of it, and ρ is such that
                       the whole is λ̂ (¼ where the rest is quartic). Where w* is no minimum, the linear part
                       nβE[u_C·∇_C L(w*)] is taken out beforehand and added. Disjoint components add up
        examples       Var[ℓᵢ] before and after
        moved          ‖Δw‖ inside and outside the directions that stiffened or softened

    The cost is that of the two estimates and little more: 1.2 times theirs with 2,410 parameters and 1,797
    examples, 1.5 times where an estimate takes a fraction of a second (processor time).

    Args:
        model: as for `lltc.estimate_llc`; `lltc.behavioral(…)` for checkpoints that are no minima. Or two
            `lltc.local_posterior(…)`, before and after, in place of all four.
        before: the earlier checkpoint, any pytree.
        after: the later one, with the same leaves.
        data: as for `lltc.estimate_llc`.
        components: names mapped to patterns, or a list of patterns; default one component a leaf. An empty
            list divides nothing.
        refine: also give each component's refined Δλ̂, it alone moved: two more estimates a component.
        directions: how many of the stiffest directions are looked at where more than 512 parameters move;
            default 64. Up to 512 all are. `change.lower_bound` says when there may be more.
        examples: of how many examples, drawn at random, the losses are followed and the Hessian is taken;
            default 1024.
        options: as in `lltc.Options`, for both; γ is by default that of `after`, and `num_draws` at least 128
            where given.

    Returns:
        A `Probe`, which prints as a table, with `to_dataset()` and `plot()`.

    Raises:
        InputError: as `lltc.estimate_llc`, for checkpoints whose leaves differ, and for components that
            select nothing.

    Source:
        Lehalleur & Murfet (2025, arXiv:2504.08075) for the programme; Wang et al. (2024, arXiv:2410.02984)
        for refined coefficients; Björck & Golub (1973) for principal angles.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = lambda w, x: 0.5 * jnp.sum((w["a"] * w["b"]) ** 2) * jnp.ones(len(x))
        >>> before = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
        >>> after = {"a": jnp.array([3.0, 0.0]), "b": jnp.zeros(2)}
        >>> change = probe(loss, before, after, jnp.zeros(9), nbeta=100, localization=1.0, progress=False)
        >>> change.num_stiffened, change.num_softened, round(change.by_component["b"].stiffened, 3)
        (1, 0, 1.0)
    """
    began = time.perf_counter()
    settings, refine = complete("probe", options), check_flag("refine", refine)
    old, new = _arrange(model, before, after, data, settings)
    restrict = _moves(new)
    named = _named(new.params, components, restrict)
    masks = {
        name: moved_mask(new.target.layout, new.center, new.params, name, pattern)
        for name, pattern in named.items()
    }
    looking: dict[str, Any] = {"masks": masks, "directions": directions, "examples": examples}
    views = [watch(fitted(posterior, settings), settings, **looking) for posterior in (old, new)]
    refined = None
    if refine and named:
        moving = {name: _moving(new.params, pattern, restrict) for name, pattern in named.items()}
        refined = [_refine(posterior, moving, settings) for posterior in (old, new)]
    earlier, later = (np.asarray(center_vector(at.target.layout, at.center), float) for at in (old, new))
    return _conclude(views[0], views[1], later - earlier, masks, refined, began)


def _arrange(
    model: LossFn | LocalPosterior,
    before: PyTree | LocalPosterior,
    after: PyTree,
    data: PyTree | Data,
    settings: dict[str, Any],
) -> tuple[LocalPosterior, LocalPosterior]:
    """Return the posteriors before and after, at one nβ and one γ."""
    if isinstance(model, LocalPosterior) and isinstance(before, LocalPosterior):
        old, new = (arrange("probe", posterior, after, data, settings) for posterior in (model, before))
        check_same_posterior(old, new)
        return old, new
    if not callable(model):
        raise InputError(
            f"model must be a loss (params, batch) -> losses, but a {type(model).__name__} was given; the "
            "order is probe(model, before, after, data)."
        )
    check_same_network(before, after)
    data = as_data(data)
    new = arrange("probe", model, after, data, settings)
    shared = {"nbeta": new.nbeta, "localization": new.localization}
    return arrange("probe", model, before, data, settings | shared), new


def _moves(posterior: LocalPosterior) -> Restriction | None:
    """Return which parameters move, as masks shaped like params; None for all."""
    layout, index = posterior.target.layout, posterior.center.chosen
    if index is None and all(layout.moved):
        return None
    sizes = [math.prod(shape) for shape in layout.moved_shapes]
    chosen = np.ones(sum(sizes), bool)
    if index is not None:
        chosen = np.isin(np.arange(chosen.size), np.asarray(index))
    parts = iter(np.split(chosen, np.cumsum(sizes)[:-1]))
    # Both parts of a complex number move, or neither.
    masks = [
        next(parts).reshape(*shape, -1)[..., 0] if moves else False
        for shape, moves in zip(layout.shapes, layout.moved, strict=True)
    ]
    return jax.tree.unflatten(layout.treedef, masks)


def _refine(
    posterior: LocalPosterior, moving: Mapping[str, PyTree], settings: dict[str, Any]
) -> dict[str, Measured]:
    """Return the refined λ̂ of each component, it alone moved."""
    rungs = np.array([posterior.nbeta])
    estimates = {
        name: draw_estimates(restricted(posterior, mask), rungs, settings)[0] for name, mask in moving.items()
    }
    return {name: Measured(estimate.llc, estimate.llc_se) for name, estimate in estimates.items()}


def _named(
    params: PyTree,
    components: Mapping[str, Restriction] | Sequence[str] | None,
    restrict: Restriction | None,
) -> dict[str, Any]:
    """Return components by name: each leaf of which something moves where none are given."""
    if components is None:
        rows = list_components(params, restrict)
        return {row.path or "(root)": _only(row.path) for row in rows if row.selected}
    return name_components(components, params) if len(components) else {}


def _only(wanted: str) -> Callable[[str, Any], bool]:
    return lambda path, _: path == wanted


def _moving(params: PyTree, pattern: Restriction, restrict: Restriction | None) -> PyTree:
    """Return masks, shaped like `params`, of what of a component moves."""
    masks = zip(select(params, pattern), select(params, restrict), strict=True)
    return jax.tree.unflatten(jax.tree.structure(params), [np.logical_and(*pair) for pair in masks])


def _conclude(
    old: Seen,
    new: Seen,
    step: np.ndarray,
    masks: Mapping[str, np.ndarray],
    refined: Sequence[Mapping[str, Measured]] | None,
    began: float,
) -> Probe:
    """Compare what was seen of both checkpoints."""
    change = compare_stiffness(old.stiffness, new.stiffness)
    # What lies in directions that are not known is not known either.
    told = 1.0 if change.known else np.nan
    inside = told * float(np.linalg.norm(change.span.T @ step))
    return Probe(
        before=old.estimate,
        after=new.estimate,
        by_component={
            name: ComponentChange(
                *_difference(old.parts[name], new.parts[name]),
                stiffened=told * float(np.sum(change.stiffened[mask] ** 2)),
                softened=told * float(np.sum(change.softened[mask] ** 2)),
                moved=float(np.linalg.norm(step[mask])),
                refined=_difference(*[values[name] for values in refined]) if refined else None,
            )
            for name, mask in masks.items()
        },
        stiffness_before=old.stiffness,
        stiffness_after=new.stiffness,
        change=change,
        examples=ExampleChange(old.rows, old.examples, new.examples)
        if old.examples and new.examples
        else None,
        moved_inside=inside,
        moved_outside=told * float(np.sqrt(np.maximum(step @ step - inside**2, 0.0))),
        seconds=time.perf_counter() - began,
    )


def _difference(old: Measured, new: Measured) -> Measured:
    return Measured(new.value - old.value, float(np.hypot(new.se, old.se)))
