"""NumPyro: a probabilistic program's likelihood, one data point at a time, over unconstrained params."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from lltc.errors import InputError
from lltc.models.adapter import Model
from lltc.models.libraries import require

Arguments = Callable[[Any], tuple | Mapping[str, Any]] | None
Sites = dict[str, dict[str, Any]]


def numpyro_model(
    model: Callable, *, args: Arguments = None, plate: str | None = None, params: Any = None
) -> Model:
    """Make a model of a NumPyro program: its negative log likelihood in unconstrained space.

    ``loss_i = -Σ_sites log p(obs_i | T(params))``, with ``T`` the bijection onto each latent site's support
    (``numpyro.distributions.biject_to``, the one NumPyro's HMC uses).

    The sum runs over all observed sites (``numpyro.factor`` included). The prior and the Jacobian of ``T``
    are left out: the local posterior brings its own prior, the localization. Add them to a hand-written
    ``Model`` if wanted, divided by the number of data points. The factor a subsampling plate puts on the
    likelihood is taken out again, because the estimator scales minibatches itself; other scales and masks
    stay.

    Plates must take their size, or their ``subsample_size``, from the batch, as in
    ``numpyro.plate("data", x.shape[0])``, since minibatches and the full data both come through. Latent
    variables of single data points have to be integrated out, and discrete latent variables too.

    Args:
        model: the NumPyro program, conditioned on data through its arguments (``obs=``).
        args: ``args(batch)`` gives the program's arguments, a tuple or a dict of keywords. By default a tuple
            or list is spread over the positions, a dict over the keywords, and an array is the one argument.
        plate: the name of the plate that runs over data points, needed only where it is not plain from the
            sizes.
        params: carried as ``Model.params``; see ``unconstrained`` for making them.

    Returns:
        A ``Model`` whose params are the dict of unconstrained latent sites and whose ``apply`` gives the log
        likelihood, (batch,).

    Raises:
        InputError: numpyro is missing; on call, if latent sites and params differ, or an observed site does
            not have one log probability a data point.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def line(x, y):
        ...     slope = numpyro.sample("slope", dist.Normal(0.0, 10.0))
        ...     sigma = numpyro.sample("sigma", dist.HalfNormal(1.0))
        ...     with numpyro.plate("data", x.shape[0]):
        ...         numpyro.sample("y", dist.Normal(slope * x, sigma), obs=y)
        >>> batch = (jnp.array([0.0, 1.0]), jnp.array([0.0, 3.0]))
        >>> point = unconstrained(line, {"slope": 2.0, "sigma": 1.0}, batch)
        >>> [round(float(loss), 4) for loss in numpyro_model(line)(point, batch)]
        [0.9189, 1.4189]
    """
    require("numpyro", "numpyro_model", "numpyro")

    def apply(params: Any, batch: Any) -> Array:
        count = _batch_size(batch)
        sites = _trace(model, args, batch, params, lambda site, param: _bijection(site)(param))
        _check_latents(sites, params)
        observed = {name: site for name, site in sites.items() if _is_observed(site)}
        if not observed:
            raise InputError(
                "the program has no observed site: pass the data to a sample statement with obs=."
            )
        return sum((_per_example(sites, name, count, plate) for name in observed), jnp.zeros(count))

    return Model(apply, _negate, params)


def unconstrained(
    model: Callable, params: Mapping[str, Any], batch: Any, *, args: Arguments = None
) -> dict[str, Array]:
    """Map a point of a NumPyro program's latent sites to unconstrained space.

    ``T⁻¹`` site by site, with ``T`` as in ``numpyro_model``.

    Args:
        model: the NumPyro program.
        params: a value inside its support for each latent site, e.g. the posterior mean or a fit.
        batch: any batch, to run the program on.
        args: as for ``numpyro_model``.

    Returns:
        The dict of unconstrained values, ready as params of ``numpyro_model``'s result.

    Raises:
        InputError: numpyro is missing, latent sites and params differ, or a value lies outside its support.

    Example:
        >>> import numpyro, numpyro.distributions as dist
        >>> def noise(y):
        ...     numpyro.sample("y", dist.Normal(0.0, numpyro.sample("sigma", dist.HalfNormal())), obs=y)
        >>> float(unconstrained(noise, {"sigma": 1.0}, jnp.zeros(3))["sigma"])
        0.0
    """
    require("numpyro", "unconstrained", "numpyro")
    sites = _trace(model, args, batch, params, _inside_support)
    _check_latents(sites, params)
    # Times 1.0 makes floats of integers and leaves every floating type as it is.
    return {name: 1.0 * _bijection(sites[name]).inv(sites[name]["value"]) for name in params}


def _negate(log_likelihood: Array, _: Any) -> Array:
    return -log_likelihood


def _batch_size(batch: Any) -> int:
    return jnp.shape(jax.tree.leaves(batch)[0])[0]


def _trace(
    model: Callable,
    args: Arguments,
    batch: Any,
    params: Mapping[str, Any],
    value_of: Callable[[dict, Array], Array],
) -> Sites:
    """Run the program once, latent sites set from the params, plates keeping the data in order."""
    handlers = require("numpyro.handlers", "numpyro_model", "numpyro")

    def substitute(site: dict) -> Array | None:
        if site["type"] == "plate":
            size, subsample = site["args"]
            return jnp.arange(size if subsample is None else subsample)
        known = _is_latent(site) and site["name"] in params
        return _fitting(site, value_of(site, jnp.asarray(params[site["name"]]))) if known else None

    arguments = _default_arguments(batch) if args is None else args(batch)
    positions, keywords = ((), dict(arguments)) if isinstance(arguments, Mapping) else (arguments, {})
    if not isinstance(positions, tuple | list):
        raise InputError(f"args(batch) must give a tuple or a dict; it gave {type(arguments).__name__}.")
    # The seed serves latent sites that params lack, so that all of them can be named in one error.
    program = handlers.substitute(handlers.seed(model, 0), substitute_fn=substitute)
    return handlers.trace(program).get_trace(*positions, **keywords)


def _default_arguments(batch: Any) -> tuple | Mapping[str, Any]:
    if isinstance(batch, Mapping):
        return batch
    return tuple(batch) if isinstance(batch, tuple | list) else (batch,)


def _is_observed(site: dict) -> bool:
    return site["type"] == "sample" and site["is_observed"]


def _is_latent(site: dict) -> bool:
    return site["type"] == "param" or (site["type"] == "sample" and not site["is_observed"])


def _support(site: dict) -> Any:
    constraints = require("numpyro.distributions.constraints", "numpyro_model", "numpyro")
    return (
        site["kwargs"].get("constraint", constraints.real) if site["type"] == "param" else site["fn"].support
    )


def _bijection(site: dict) -> Any:
    support = _support(site)
    if support.is_discrete:
        raise InputError(
            f"the latent site {site['name']!r} is discrete and has no unconstrained space: "
            "sum it out of the model."
        )
    return require("numpyro.distributions", "numpyro_model", "numpyro").biject_to(support)


def _check_latents(sites: Sites, params: Mapping[str, Any]) -> None:
    latent = {name for name, site in sites.items() if _is_latent(site)}
    if latent != set(params):
        raise InputError(
            f"params must hold the program's latent sites {sorted(latent)}: "
            f"missing {sorted(latent - set(params))}, unknown {sorted(set(params) - latent)}."
        )


def _fitting(site: dict, value: Array) -> Array:
    if site["type"] == "param":
        return value
    shape = site["fn"].shape(site["kwargs"].get("sample_shape", ()))
    if jnp.shape(value) != shape:
        raise InputError(
            f"params[{site['name']!r}] has the shape {jnp.shape(value)}, its site {shape} on this batch: "
            "give that shape; a latent variable for each data point must be integrated out."
        )
    return value


def _inside_support(site: dict, value: Array) -> Array:
    if not bool(jnp.all(_support(site)(value))):
        raise InputError(
            f"params[{site['name']!r}] lies outside the support {_support(site)}: give a value inside it."
        )
    return value


def _per_example(sites: Sites, name: str, count: int, plate: str | None) -> Array:
    """Log probability of one observed site, summed over all axes but the data's, (count,)."""
    site = sites[name]
    log_prob = site["fn"].log_prob(site["value"])
    axis = _data_axis(site, jnp.shape(log_prob), count, plate)
    rows = jnp.moveaxis(log_prob, axis, 0).reshape(count, -1).sum(axis=1)
    if site["scale"] is None:
        return rows
    scale = jnp.asarray(site["scale"]) / _subsampling(sites, site)
    if scale.ndim:
        raise InputError(
            f"the observed site {name!r} is scaled by an array: only a number can scale a likelihood."
        )
    return rows * scale


def _data_axis(site: dict, shape: tuple[int, ...], count: int, plate: str | None) -> int:
    """Find the data's axis: the named plate, else the only plate of the batch's size, else the first axis."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.size == count]
    if plate is not None:
        frames = [frame for frame in site["cond_indep_stack"] if frame.name == plate]
    if len(frames) > 1:
        names = [frame.name for frame in frames]
        raise InputError(
            f"the plates {names} all have the batch's size {count}: name the data's with plate=."
        )
    axis = frames[0].dim if frames else 0
    if not -len(shape) <= axis < len(shape) or shape[axis] != count:
        raise InputError(
            f"the observed site {site['name']!r} has log probabilities of shape {shape}, not one for each of "
            f"the batch's {count} data points: size its plate by the batch, or name the plate with plate=."
        )
    return axis


def _subsampling(sites: Sites, site: dict) -> float:
    factor = 1.0
    for frame in site["cond_indep_stack"]:
        size, subsample = sites[frame.name]["args"]
        factor *= size / subsample if subsample else 1.0
    return factor
