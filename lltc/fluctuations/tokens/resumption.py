"""How a reading stands: what a store is begun with, known again by, and gone on from."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lltc.chains.looks import MOST_VISITS, Visit
from lltc.chains.loop import Run, start
from lltc.chains.rotation import Rotation
from lltc.chains.steps import CHUNK, OBSERVE_EVERY, Draws, Settings
from lltc.chains.warmup import WarmUp
from lltc.errors import InputError
from lltc.fluctuations.tokens.reader import TokenReader, Tokens
from lltc.fluctuations.tokens.store import (
    Extent,
    Shape,
    Store,
    check_arrays,
    create,
    opened,
    plan_arrays,
    refused,
)
from lltc.kernels import Tuning
from lltc.posterior.localization import default_localization
from lltc.posterior.target import LocalPosterior

SLOTS = 2
EVERY_VISIT = CHUNK // OBSERVE_EVERY


class ReadingPlan(NamedTuple):
    """What is to be read: the draws, whose losses, and the fingerprint by which a store is known again.

    `averaged` says that examples' losses are means over their tokens.
    """

    extent: Extent
    components: tuple[str, ...]
    tokens: Tokens
    identity: str
    averaged: bool


def identify(reader: TokenReader, tokens: Tokens, chosen: dict[str, Any]) -> str:
    """Return a hash of all that the numbers follow from: w*, what moves, losses, components and options."""
    layout, center = reader.posterior.target.layout, reader.posterior.center
    chosen = chosen | {"moved": layout.moved}
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True, default=np.generic.item).encode())
    leaves = [*center.leaves, *tokens, reader.masks, reader.weights, *_away(reader)]
    leaves += [] if center.chosen is None else [center.chosen]
    for leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _away(reader: TokenReader) -> tuple[np.ndarray, np.ndarray]:
    """Return the losses of all tokens, finite or not, and their mean at one fixed point away from w*.

    Those at w* tell nothing of a behavioral model, whose losses are 0 there, nor of examples not kept.
    """
    posterior = reader.posterior
    precision = posterior.localization or default_localization(posterior.target.layout, posterior.center)
    direction = jax.random.normal(jax.random.key(0), (1, posterior.num_params), posterior.dtype)
    everything = replace(reader, masks=reader.masks[:1], kept=reader.weights > 0)
    return everything(direction / precision**0.5)


def planned_as_before(posterior: LocalPosterior, path: Path) -> LocalPosterior:
    """Return the posterior with as many examples and chains at once as the store, if any, was begun with."""
    if not path.exists():
        return posterior
    _, (micro, chains) = _begun(path)
    return replace(posterior, target=replace(posterior.target, micro_batch=micro, chain_batch=chains))


def check_same_reading(path: Path, identity: str) -> None:
    """Refuse a store that holds another reading."""
    if path.exists() and _begun(path)[0] != identity:
        raise InputError(
            f"store={str(path.parent)!r} holds another reading (other model, params, data, components or "
            "options); pass another store, or remove that one."
        )


def _begun(path: Path) -> tuple[str, tuple[int | None, int | None]]:
    """Return the identity of a store, and how many examples and chains it was begun with at once."""
    with opened(path) as file:
        try:
            header = Store(file).header
            micro, chains = header["at_once"]
            return header["identity"], (micro, chains)
        except (KeyError, ValueError, TypeError) as error:
            raise refused(path, f"has no header that can be read ({error})") from error


def begin(path: Path, run: Run, plan: ReadingPlan, warm: WarmUp, seconds: float) -> None:
    """Make the store, with the state that the first draw starts from."""
    target = run.posterior.target
    header = {
        "identity": plan.identity,
        "extent": plan.extent,
        "components": plan.components,
        "at_once": [target.micro_batch, target.chain_batch],
        "nbeta": run.posterior.nbeta,
        "localization": run.posterior.localization,
        "size": run.posterior.data.size,
        "relative": target.relative,
        "linear": target.linear,
        "averaged": plan.averaged,
        "dtype": np.dtype(run.posterior.dtype).name,
        "reach": warm.reach.tolist(),
        "steps": warm.steps,
        "broken": warm.broken,
        "seconds": seconds,
        "rotation": _describe(warm.settings.rotation),
    }
    settings, state = jax.tree.leaves(warm.settings), jax.tree.leaves(warm.state)
    dtype = run.posterior.dtype
    arrays = plan_arrays(plan.extent, dtype) | state_arrays(plan.extent, dtype, settings, state)
    first = {f"settings/{place}": np.asarray(leaf) for place, leaf in enumerate(settings)}
    first |= {f"state/{place}": np.stack([np.asarray(leaf)] * SLOTS) for place, leaf in enumerate(state)}
    create(path.parent, arrays, header, plan.tokens, first)


def state_arrays(
    extent: Extent, dtype: Any, settings: Sequence[Any], state: Sequence[Any]
) -> dict[str, Shape]:
    """Return the arrays that chains go on from, and what they have recorded of every step."""
    arrays = {f"settings/{place}": Shape(leaf.shape, leaf.dtype) for place, leaf in enumerate(settings)}
    for place, leaf in enumerate(state):
        arrays[f"state/{place}"] = Shape((SLOTS, *leaf.shape), leaf.dtype)
    steps = extent.posterior * OBSERVE_EVERY
    for name in Draws._fields:
        tail = (2,) if name == "energy" else ()
        arrays[f"draws/{name}"] = Shape((steps, extent.chains, *tail), dtype)
    for name in Visit._fields:
        kind = np.float64 if name == "acceptance" else dtype
        arrays[f"visits/{name}"] = Shape((MOST_VISITS, extent.chains), kind)
    return arrays


def visits_by(count: int, extent: Extent) -> int:
    """Return how often chains have been looked at by the draw `count`: every 256 steps, and at the end."""
    return min(count // EVERY_VISIT + (count == extent.posterior and count % EVERY_VISIT > 0), MOST_VISITS)


def resume(path: Path, file: Any, run: Run, plan: ReadingPlan) -> WarmUp:
    """Return the chains as the store has them after its last draw."""
    header, store = Store(file).header, Store(file)
    try:
        structure = _structure(header["rotation"])
        parts = [jnp.asarray(file[f"settings/{place}"][...]) for place in range(structure.num_leaves)]
        settings = jax.tree.unflatten(structure, parts)
        reach, steps = np.array(header["reach"], float), int(header["steps"])
        broken = float(header["broken"])
        positions = jnp.zeros((plan.extent.chains, run.posterior.num_params), run.posterior.dtype)
        shapes, tree = jax.tree.flatten(jax.eval_shape(lambda p: start(run, p, settings), positions))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise refused(path, f"has no state that can be read ({error})") from error
    dtype = run.posterior.dtype
    arrays = plan_arrays(plan.extent, dtype) | state_arrays(plan.extent, dtype, parts, shapes)
    check_arrays(path, file, arrays)
    if not 0 <= store.count("posterior") <= plan.extent.posterior:
        raise refused(path, f"counts {store.count('posterior')} draws of {plan.extent.posterior}")
    slot = store.count("posterior") % SLOTS
    leaves = [jnp.asarray(file[f"state/{place}"][slot]) for place in range(len(shapes))]
    state = jax.tree.unflatten(tree, leaves)
    return WarmUp(state, settings, reach, steps, broken, complete=True, finite=True)


def _describe(rotation: Rotation | None) -> dict[str, Any] | None:
    """Return the shapes of a rotation's leaves, and which sides of each it turns."""
    if rotation is None:
        return None
    turned = [[side is not None for side in sides] for sides in rotation.sides]
    return {"shapes": rotation.shapes, "turned": turned}


def _structure(described: dict[str, Any] | None) -> Any:
    """Return the tree structure of the settings of chains that move in such a rotation."""
    rotation: Any = None
    if described is not None:
        sides = tuple((0 if left else None, 0 if right else None) for left, right in described["turned"])
        shapes = tuple((int(rows), int(columns)) for rows, columns in described["shapes"])
        rotation = Rotation(sides, shapes)  # pyright: ignore[reportArgumentType]
    settings: Any = Settings(0, 0, Tuning(0, 0, 0), rotation)  # pyright: ignore[reportArgumentType]
    return jax.tree.structure(settings)
