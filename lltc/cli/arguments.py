"""Flags that several commands share, and the objects they name."""

import sys
import traceback
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from cyclopts import Parameter

from lltc.errors import InputError, first_line

KERNELS = ("baoab", "ghmc", "mala", "leimkuhler_matthews", "euler", "sgnht")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What is sampled and how long.

    Parameters
    ----------
    key
        Random seed.
    nbeta
        Inverse temperature nβ; default n/ln n.
    localization
        Strength γ of the pull towards the checkpoint; default from its norm, in a sweep the last one's.
    num_chains
        Chains run side by side.
    num_draws
        Draws a chain; by default as many as target_rel_se needs.
    num_warmup
        Steps before drawing; default 1000, fewer where they cost much.
    batch_size
        Examples a step; default 512, or all of up to 1024, fewer where they cost much.
    step_size
        Step size ε; measured when not given.
    target_rel_se
        Relative standard error to reach when num_draws is not given.
    restrict
        Globs over parameter paths; only these move.
    linear
        With --no-linear, the loss without its slope at the checkpoint.
    kernel
        Sampler: baoab, ghmc, mala, leimkuhler_matthews, euler or sgnht; chosen when not given.
    preconditioner
        Optax transformation with a second moment, as pkg.module:attr; frozen after warm-up.
    anchor_examples
        Examples that give the gradient at the checkpoint; default all.
    time
        When to stop drawing, such as 10m; what there is by then is assessed.
    memory
        How much to take, such as 8GB; default most of what is free.
    chain_batch
        Chains evaluated at once; default as many as memory allows.
    micro_batch
        Examples of a batch evaluated at once; default as many as memory allows.
    weights
        What each example counts: a key of the data, or an array as pkg.module:attr.
    weight_decay
        Strength of the weight decay that training minimised beside the loss.
    tie
        Leaves that are another one, as head=wte.
    mesh
        Devices along the axes chain, data and model, such as chain=4,model=2; default one device.
    """

    key: int = 0
    nbeta: float | None = None
    localization: float | None = None
    num_chains: int = 8
    num_draws: int | None = None
    num_warmup: int | None = None
    batch_size: int | None = None
    step_size: float | None = None
    target_rel_se: float = 0.02
    restrict: list[str] | None = None
    linear: bool = True
    kernel: str | None = None
    preconditioner: str | None = None
    anchor_examples: int | None = None
    time: str | None = None
    memory: str | None = None
    chain_batch: int | None = None
    micro_batch: int | None = None
    weights: str | None = None
    weight_decay: float | None = None
    tie: list[str] | None = None
    mesh: str | None = None


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Loading:
    """How checkpoints become params.

    Parameters
    ----------
    params_key
        Where the params lie inside each checkpoint, such as params.
    template
        Pytree the params are fitted to, as pkg.module:attr; default the params of a model that has its own.
    loader
        Function path -> params as pkg.module:attr, for checkpoints in a format of your own.
    transpose
        With torch, PyTorch's weights are turned into the template's layout.
    ignore
        Glob over the checkpoints' names to leave out, such as "*/num_batches_tracked"; again for more.
    """

    params_key: str | None = None
    template: str | None = None
    loader: str | None = None
    transpose: Literal["torch"] | None = None
    ignore: list[str] | None = None


def as_reading(loading: Loading | None) -> dict[str, Any]:
    """Return the arguments of `find_checkpoints` and `open_checkpoint` the flags stand for."""
    given = loading or Loading()
    loader = load_attribute("loader", given.loader) if given.loader else None
    return {
        "params_key": given.params_key,
        "loader": loader,
        "transpose": given.transpose,
        "ignore": given.ignore,
    }


def as_template(loading: Loading | None, model: Any = None) -> Any:
    """Return the pytree params are fitted to: the one named, else the params that `model` brings along."""
    named = load_value("template", loading.template) if loading else None
    return getattr(model, "params", None) if named is None else named


def as_options(sampling: Sampling | None) -> dict[str, Any]:
    """Return the arguments of `estimate_llc` the flags stand for."""
    given = sampling or Sampling()
    return asdict(given) | {
        "kernel": _kernel(given.kernel),
        "preconditioner": load_value("preconditioner", given.preconditioner),
        "weights": load_value("weights", given.weights) if ":" in (given.weights or "") else given.weights,
        "tie": name_globs(given.tie),
        "mesh": _mesh(given.mesh),
    }


def _kernel(name: str | None) -> Any:
    if name is None:
        return None
    from lltc import kernels

    if name not in KERNELS:
        raise InputError(
            f"kernel must be one of {', '.join(KERNELS)}, but {name!r} was given; pass one of these."
        )
    return getattr(kernels, name)()


def _mesh(text: str | None) -> Any:
    """Return a mesh of the first devices, such as chain=4,model=2 names."""
    if text is None:
        return None
    import jax

    try:
        sizes = {name.strip(): int(size) for name, size in (part.split("=") for part in text.split(","))}
        return jax.make_mesh(tuple(sizes.values()), tuple(sizes))
    except ValueError as error:
        raise InputError(
            f"mesh must name axes among chain, data and model with their sizes, such as chain=4,model=2, of "
            f"at most {jax.device_count()} devices in all, but {text!r} was given ({error}); mend it."
        ) from None


def load_params(checkpoint: str, loading: Loading | None, model: Any) -> Any:
    """Return the params of one checkpoint, fitted to the template asked for or the one `model` carries."""
    from lltc.checkpoints import open_checkpoint

    return open_checkpoint(checkpoint, **as_reading(loading)).load(as_template(loading, model))


def load_attribute(argument: str, reference: str) -> Any:
    """Return the object `pkg.module:attr` names, looking in the current folder first."""
    module_name, separator, attribute = reference.partition(":")
    if not (module_name and separator and attribute):
        raise InputError(
            f"{argument} must be written pkg.module:attr, but {reference!r} was given; name the module and "
            "the attribute."
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        value: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{argument}={reference!r} names a module that cannot be imported ({error}); run lltc where it "
            "can be, or install it."
        ) from None
    except InputError:
        raise
    except Exception as error:  # The module is the user's: it may fail in any way.
        raise _failed(
            f"{argument}={reference!r} names a module that fails as it is imported", error
        ) from error
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise InputError(
                f"{argument}={reference!r} names {name!r}, which {module_name} does not have; check its "
                "spelling."
            )
        value = getattr(value, name)
    return value


def load_value(argument: str, reference: str | None) -> Any:
    """Return what `pkg.module:attr` names, called where it is a function; None for no reference."""
    value = load_attribute(argument, reference) if reference else None
    if not callable(value) or hasattr(value, "__getitem__"):
        return value
    try:
        return value()
    except InputError:
        raise
    except Exception as error:  # The function is the user's: it may fail in any way.
        raise _failed(f"{argument}={reference!r} is called without arguments and fails", error) from error


def _failed(what: str, error: Exception) -> InputError:
    """Return a sentence that says where an error arose."""
    frames = traceback.extract_tb(error.__traceback__)
    file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else frames[-1][:2]
    return InputError(
        f"{what} ({type(error).__name__}: {first_line(error)}) at {file}:{line}; mend it there."
    )


def name_globs(given: list[str] | None) -> dict[str, str] | None:
    """Return globs by name; one without a name is its own.

    Example:
        >>> name_globs(["first/*", "heads=*/attn/*"])
        {'first/*': 'first/*', 'heads': '*/attn/*'}
    """
    if given is None:
        return None
    split = [(text, *text.partition("=")) for text in given]
    return {(name if equals else text): (glob if equals else text) for text, name, equals, glob in split}
