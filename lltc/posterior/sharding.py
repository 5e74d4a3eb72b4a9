"""Spreading one run over devices: chains, batches and parameters along the axes of a mesh."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lltc.errors import InputError
from lltc.types import PyTree

AXES = ("chain", "data", "model")


@dataclass(frozen=True)
class Placement:
    """Which axes of `mesh` chains `(chain, d)`, batches and leaves are divided along; hashable.

    Chains go along "chain", a batch's examples along "data", each leaf of params as its own `NamedSharding`
    says, else it is whole everywhere. The d coordinates of a chain go along "model" where their number can be
    divided evenly, else they are whole everywhere.
    """

    mesh: Mesh
    leaves: tuple[PartitionSpec, ...]
    coordinates: str | None

    def size(self, axis: str) -> int:
        """Return the number of devices along an axis, 1 where the mesh lacks it."""
        return self.mesh.shape.get(axis, 1)

    def chains(self, positions: jax.Array) -> jax.Array:
        """Return an array `(chain, d)` in place."""
        return self._put(positions, "chain" if "chain" in self.mesh.shape else None, self.coordinates)

    def vector(self, position: jax.Array) -> jax.Array:
        """Return a vector `(d,)` in place."""
        return self._put(position, self.coordinates)

    def batch(self, batch: PyTree) -> PyTree:
        """Return a batch with its examples divided along "data", where that can be done evenly."""
        size = self.size("data")
        return jax.tree.map(lambda a: self._put(a, "data") if size > 1 and len(a) % size == 0 else a, batch)

    def whole(self, tree: PyTree) -> PyTree:
        """Return arrays whole on every device."""
        return jax.tree.map(lambda a: self._put(a), tree)

    def params(self, leaves: Sequence[jax.Array], moved: Sequence[bool] | None = None) -> tuple:
        """Return leaves in place: all of them, or those of them that are `moved`."""
        specs = [spec for at, spec in enumerate(self.leaves) if moved is None or moved[at]]
        return tuple(self._put(leaf, *spec) for leaf, spec in zip(leaves, specs, strict=True))

    def _put(self, array: Any, *spec: Any) -> jax.Array:
        sharding = NamedSharding(self.mesh, PartitionSpec(*spec))
        if isinstance(array, Tracer):
            return jax.lax.with_sharding_constraint(array, sharding)
        return jax.device_put(array, sharding)


def spread_params(mesh: Mesh | None, params: PyTree) -> PyTree:
    """Return `params` on `mesh`, each leaf divided as its own `NamedSharding` says, else whole everywhere.

    Raises `InputError` for a mesh with other axes than chain, data and model, and for leaves on another mesh.
    """
    if mesh is None:
        return params
    if not isinstance(mesh, Mesh) or not set(mesh.axis_names) <= set(AXES):
        received = mesh.axis_names if isinstance(mesh, Mesh) else type(mesh).__name__
        raise InputError(
            f"mesh must be a jax.sharding.Mesh whose axes are among {', '.join(AXES)}, but {received} was "
            'given; make one with jax.make_mesh((4, 2), ("chain", "model")).'
        )
    # On axes of the default kind the compiler places by itself what lies between inputs and outputs.
    mesh = Mesh(mesh.devices, mesh.axis_names)
    return jax.tree.map(lambda leaf: jax.device_put(leaf, NamedSharding(mesh, _spec(leaf, mesh))), params)


def make_placement(params: PyTree, num_params: int) -> Placement:
    """Return where everything goes on the mesh that the leaves of `params` lie on.

    Example:
        >>> params = spread_params(jax.make_mesh((1, 1), ("chain", "model")), {"w": np.zeros(6)})
        >>> make_placement(params, 6).coordinates
        'model'
    """
    shardings = [leaf.sharding for leaf in jax.tree.leaves(params)]
    mesh = shardings[0].mesh
    along = "model" in mesh.shape and num_params % mesh.shape["model"] == 0
    return Placement(mesh, tuple(sharding.spec for sharding in shardings), "model" if along else None)


def check_divides(placement: Placement | None, axis: str, argument: str, count: int) -> None:
    """Refuse a count that the devices along `axis` cannot share evenly."""
    if placement is not None and count % placement.size(axis):
        size = placement.size(axis)
        even = math.lcm(2, size)
        raise InputError(
            f"{argument} must be a multiple of the {size} devices along the mesh's axis {axis!r}, but it is "
            f"{count}; pass {-(-count // even) * even}."
        )


def to_host(values: Any) -> np.ndarray:
    """Return values in NumPy, whole, though other processes may hold parts of them."""
    if isinstance(values, jax.Array) and not values.is_fully_addressable:
        from jax.experimental.multihost_utils import process_allgather

        return np.asarray(process_allgather(values, tiled=True))
    return np.asarray(values)


def _spec(leaf: Any, mesh: Mesh) -> PartitionSpec:
    sharding = getattr(leaf, "sharding", None)
    if not isinstance(sharding, NamedSharding) or sharding.is_fully_replicated:
        return PartitionSpec()
    if dict(sharding.mesh.shape) != dict(mesh.shape):
        raise InputError(
            f"params has a leaf divided over a mesh of {dict(sharding.mesh.shape)}, but mesh is of "
            f"{dict(mesh.shape)}; pass the mesh that params lie on, its axes named chain, data or "
            "model, or move params with jax.device_put."
        )
    return sharding.spec
