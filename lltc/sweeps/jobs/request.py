"""What all checkpoints of a sweep share: settings fixed once for all, and the hash of it all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from lltc.chains.cost import with_affordable_batch
from lltc.chains.streams import as_key
from lltc.checkpoints import Checkpoint
from lltc.checkpoints.intake.tree import as_globs
from lltc.checkpoints.remote import local_copy
from lltc.compilation import NUMERICS
from lltc.errors import CheckpointError, InputError
from lltc.estimates.by_component import as_masks
from lltc.estimates.described_options import complete_options, describe_option, describe_structure, versions
from lltc.posterior.checks import check_finite_params
from lltc.posterior.components import Restriction, name_components
from lltc.posterior.data import Data, as_data
from lltc.posterior.fingerprint import (
    fingerprint_data,
    fingerprint_model,
    fingerprint_params,
)
from lltc.posterior.layout import as_params
from lltc.posterior.target import LocalPosterior, local_posterior
from lltc.sweeps.jobs.observables import (
    Function,
    Observables,
    SubLoss,
    check_along_chains,
    fingerprint_observable,
    fingerprint_traced,
    name_observables,
)
from lltc.sweeps.jobs.sources import Task, describe_reading
from lltc.sweeps.jobs.trial import try_reading
from lltc.sweeps.store.folder import RunsSettings
from lltc.sweeps.store.settings import SweepSettings
from lltc.types import LossFn, PyTree

Recorded = SweepSettings | RunsSettings
HEADS = "heads"
STICKY = ("nbeta", "localization")
MOVING = ("restrict", "weights", "tie")
SHAPING = (*STICKY, "batch_size", "restrict", "weights", "weight_decay", "tie")
MISFITS = 3
WORD = 1 << 32  # what a key takes in at once; tokens seen go beyond


@dataclass(frozen=True)
class Request:
    """What is asked of every checkpoint, whatever folder it lies in.

    `reading` are `find_checkpoints`' arguments, `options` those of `estimate_llc`. `apart` is true where
    other processes are to read the checkpoints, so that none can end this one.
    """

    model: LossFn
    data: Data
    key: jax.Array
    observables: Mapping[str, Function]
    along_chains: tuple[str, ...]
    components: dict[str, Restriction]
    template: PyTree | None
    reading: dict[str, Any]
    options: dict[str, Any]
    apart: bool = False


@dataclass(frozen=True)
class Setup:
    """What all checkpoints of one sweep share: all a worker needs besides the checkpoint.

    `options` are arguments of `estimate_llc`; `settings` is what `sweep.json` will hold, but for the
    checkpoints.
    """

    out: Path
    model: LossFn
    data: Data
    options: dict[str, Any]
    key: jax.Array
    observables: Mapping[str, Function]
    along_chains: tuple[str, ...]
    components: dict[str, Restriction]
    template: PyTree | None
    settings: SweepSettings

    @property
    def configuration(self) -> str:
        """A hash of all that defines the numbers, besides the checkpoint itself."""
        return self.settings.configuration

    @property
    def recorded(self) -> dict[str, Function]:
        """The observables that are also evaluated along the chains."""
        return {name: self.observables[name] for name in self.along_chains}


def checkpoint_key(key: jax.Array | int, step: int) -> jax.Array:
    """Return the key a sweep with `key` uses at `step`: independent noise at every checkpoint."""
    low = jax.random.fold_in(as_key(key), step % WORD)
    return low if step < WORD else jax.random.fold_in(low, step // WORD)


def make_request(
    model: LossFn,
    data: PyTree | Data,
    *,
    key: jax.Array | int = 0,
    observables: Observables | None = None,
    along_chains: Sequence[str] = (),
    components: Mapping[str, Restriction] | Sequence[str] | None = None,
    params_key: str | None = None,
    template: PyTree | None = None,
    loader: Callable[[Path], PyTree] | None = None,
    transpose: Literal["torch"] | None = None,
    ignore: str | Sequence[str] | None = None,
    apart: bool = False,
    **options: Any,
) -> Request:
    """Check what is asked and fill in what needs no checkpoint; see `lltc.sweep` for the arguments."""
    template = getattr(model, "params", None) if template is None else template
    options = complete_options(options)
    data = as_data(data)
    functions = name_observables(observables, model, data)
    globs = None if ignore is None else as_globs(ignore)
    reading = {"params_key": params_key, "loader": loader, "transpose": transpose, "ignore": globs}
    recorded = check_along_chains(along_chains, functions)
    named = {} if components is None else name_components(components)
    return Request(model, data, as_key(key), functions, recorded, named, template, reading, options, apart)


def make_setup(request: Request, tasks: tuple[Task, ...], *, out: Path, recorded: Recorded | None) -> Setup:
    """Fix nβ and γ once, from the last checkpoint that will do unless given or recorded; gather the settings.

    A default that an earlier run fixed stays while the data, their weights and the moved parameters are the
    same, so that checkpoints that come later join the same curve.
    """
    model, data, options = request.model, request.data, request.options
    content = fingerprint_data(data)
    reading = describe_reading(tasks) | {"template": describe_structure(request.template)}
    options = options | _recorded_defaults(options, recorded, content, reading)
    params, posterior = find_reference(tasks, model, data, request.template, options, apart=request.apart)
    options |= {name: getattr(posterior, name) for name in (*STICKY, "batch_size")}
    functions = request.observables
    components = _components(request, params, tasks)
    settings = SweepSettings(
        options={name: describe_option(value) for name, value in options.items()},
        given={name: describe_option(request.options[name]) for name in STICKY},
        key=[],
        model=fingerprint_model(model, params, data),
        data=content,
        num_examples=data.size,
        reading=reading,
        jax={name: describe_option(getattr(jax.config, name)) for name in NUMERICS},
        versions=versions(),
        observables={name: fingerprint_observable(name, call, params) for name, call in functions.items()},
        along_chains={
            name: fingerprint_traced(name, functions[name], params) for name in request.along_chains
        }
        or None,
        components={
            name: fingerprint_params(as_masks(params, name, pattern)) for name, pattern in components.items()
        },
        sub_losses=[name for name, call in functions.items() if isinstance(call, SubLoss)],
    )
    common = (request.along_chains, components, request.template)
    setup = Setup(out, model, data, options, request.key, functions, *common, settings)
    return with_key(setup, request.key)


def _components(request: Request, params: PyTree, tasks: tuple[Task, ...]) -> dict[str, Restriction]:
    """Return the components by name; heads are told apart by the number the checkpoints come with."""
    if not request.components:
        return {}
    asked = HEADS in request.components.values()
    return name_components(request.components, params, num_heads=_num_heads(tasks) if asked else None)


def _num_heads(tasks: tuple[Task, ...]) -> int | None:
    for task in reversed(tasks[-MISFITS:]):
        with suppress(InputError):  # What is wrong with a checkpoint is told where it is worked on.
            if isinstance(task, Checkpoint) and (number := task.num_heads()):
                return number
    return None


def with_key(setup: Setup, key: jax.Array) -> Setup:
    """Return the setup with another key, which its settings and their hash follow."""
    words = np.asarray(jax.random.key_data(key)).tolist()
    return replace(setup, key=key, settings=setup.settings.with_key(words))


def find_reference(
    tasks: tuple[Task, ...],
    model: LossFn,
    data: Data,
    template: PyTree | None,
    options: dict[str, Any],
    *,
    apart: bool = False,
) -> tuple[PyTree, LocalPosterior]:
    """Return the params of the last checkpoint that can be read and evaluated, and its posterior.

    Where `apart`, each is read by another process first, once it lies on a local disk.
    """
    chosen = {name: options[name] for name in SHAPING}
    errors: list[InputError] = []
    misfits = 0
    for task in reversed(tasks):
        try:
            params = as_params(_load_apart(task, template) if apart else _load(task, template))
            check_finite_params(params)
        except InputError as error:
            errors.append(error)
            continue
        try:
            posterior = local_posterior(model, params, data, **chosen)
        except InputError as error:
            errors.append(error)
            misfits += 1
        else:
            fixed = options["batch_size"] is not None
            return params, posterior if fixed else with_affordable_batch(posterior, options["num_chains"])
        if misfits == MISFITS:
            break
    raise errors[0]


def _recorded_defaults(
    options: dict[str, Any], recorded: Recorded | None, data: str, reading: dict[str, Any]
) -> dict[str, float]:
    """Return nβ and γ as the last run fixed them, where both runs leave them to lltc and move the same."""
    if not recorded or (recorded.data, recorded.reading) != (data, reading):
        return {}
    if any(recorded.options.get(name) != describe_option(options[name]) for name in MOVING):
        return {}
    left = [name for name in STICKY if options[name] is None and recorded.given[name] is None]
    return {name: recorded.options[name] for name in left}


def _load_apart(task: Task, template: PyTree | None) -> PyTree:
    if not isinstance(task, Checkpoint):
        return _load(task, template)
    # The other process has time and memory to read a checkpoint, not to fetch it.
    with local_copy(task.path) as path:
        near = replace(task, path=path)
        try_reading(near)
        return _load(near, template)


def _load(task: Task, template: PyTree | None) -> PyTree:
    try:
        return task.load(template)
    except InputError:
        raise
    except Exception as error:  # A loader is the user's: it may stop in any way.
        raise CheckpointError(
            f"checkpoint of step {task.step} could not be loaded ({type(error).__name__}: {error})."
        ) from error
