"""JAX as every worker must find it: compiled programs kept on disk, the driver's numerics."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from lltc.files import cache_folder

NUMERICS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
)


@contextmanager
def cached_compilation() -> Iterator[None]:
    """Keep compiled programs in the user's cache folder, so that later processes need not compile them.

    A cache the user configured (JAX_COMPILATION_CACHE_DIR) stays, and so does none at all
    (JAX_ENABLE_COMPILATION_CACHE=0). The folder is `lltc/jax` in XDG_CACHE_HOME or ~/.cache; it may be
    deleted at any time.
    """
    folder = cache_folder("jax")
    if jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache or folder is None:
        yield
        return
    wanted = {"jax_compilation_cache_dir": str(folder), "jax_persistent_cache_min_compile_time_secs": 0.0}
    try:
        with configured(wanted):
            yield
    finally:
        reset_cache()


@contextmanager
def configured(wanted: dict[str, Any]) -> Iterator[None]:
    """Set what differs in JAX's configuration, and set it back."""
    with ExitStack() as stack:
        for name, value in wanted.items():
            before = getattr(jax.config, name)
            if before != value:
                jax.config.update(name, value)
                stack.callback(jax.config.update, name, before)
        yield


def broadcasting[**P, T](verb: Callable[P, T]) -> Callable[P, T]:
    """Let arrays of different ranks be combined inside `verb`, though the user's program forbids it.

    `jax_numpy_rank_promotion="raise"` finds mistakes in a network; here, and in the libraries used, adding a
    vector to every row of an array is none.
    """

    @wraps(verb)
    def allowing(*args: P.args, **kwargs: P.kwargs) -> T:
        with configured({"jax_numpy_rank_promotion": "allow"}):
            return verb(*args, **kwargs)

    return allowing
