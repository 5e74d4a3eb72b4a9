"""Names of types that the whole package shares."""

from collections.abc import Callable
from typing import Any

PyTree = Any
LossFn = Callable[..., Any]
