"""The arguments of an estimate, and what made it, as a folder of results records them."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from lltc.estimates.options import DEFAULTS, SweepOptions, complete
from lltc.posterior.fingerprint import fingerprint_code, fingerprint_params
from lltc.version import ALGORITHM, VERSION, release_of

NUMBERS = {name: DEFAULTS[name] for name in SweepOptions.__annotations__}


def complete_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that shape the numbers of an estimate, their defaults filled in."""
    return complete("sweep", given, NUMBERS)


def describe_option(value: Any) -> Any:
    """Return `value` as JSON holds it; functions, kernels and masks by what they are.

    What means the same is described alike: a number of NumPy's as Python's, a list of one glob as the glob.
    """
    if isinstance(value, np.generic | np.ndarray | jax.Array) and value.ndim == 0:
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mesh):
        return f"mesh {dict(value.shape)}"
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return value[0] if len(value) == 1 else list(value)
    if isinstance(value, tuple) and any(callable(item) for item in value):
        return [describe_option(item) for item in value]
    if callable(value):
        name = getattr(value, "__qualname__", type(value).__name__)
        return f"{getattr(value, '__module__', '')}.{name} {fingerprint_code(value)}"
    return fingerprint_params(value)


def describe_structure(template: Any) -> str | None:
    """Return a hash of a template's paths, shapes and types; its values do not matter."""
    if template is None:
        return None
    return fingerprint_params(jax.tree.map(lambda leaf: f"{np.shape(leaf)}{_type(leaf)}", template))


def _type(leaf: Any) -> Any:
    return getattr(leaf, "dtype", type(leaf).__name__)


def versions() -> dict[str, str]:
    """Return the versions the numbers come from."""
    lltc = {"lltc": release_of(VERSION), "algorithm": str(ALGORITHM)}
    return lltc | {"jax": jax.__version__, "numpy": np.__version__}
