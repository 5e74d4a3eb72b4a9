"""Settings shared by all tests: compiled programs kept, marks by folder, another base key."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Machines are shared and the first example compiles: how long one takes says nothing of the law it tests.
# A change is judged by the examples its forerunner was judged by; a developer's runs look for new ones.
settings.register_profile(
    "lltc",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("lltc")

# Times taken beside other tests say little, and pytest-benchmark takes none: they run apart.
collect_ignore = ["test_speed.py"] if "PYTEST_XDIST_WORKER" in os.environ else []

MOST_MAPPINGS = 20_000
LONG = {"process", "notebook", "browser", "reference"}
STATISTICAL = {"kernels", "chains", "diagnostics", "estimates", "fluctuations", "probes", "toys"}
SEEDED = (
    "lltc.chains.streams",
    "lltc.estimates.checking",
    "lltc.estimates.estimator",
    "lltc.fluctuations.susceptibility",
    "lltc.fluctuations.tokens.reading",
    "lltc.probes.sampled",
    "lltc.sweeps.jobs.request",
    "lltc.sweeps.paths",
)


def pytest_configure(config: pytest.Config) -> None:
    """Let tests, their children and the notebooks find the programs that earlier runs compiled."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.rootpath / "build" / "test-programs"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --base-key."""
    parser.addoption(
        "--base-key",
        type=int,
        default=0,
        help="added to every integer key that lltc is given, so that all chains draw other numbers",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as statistical what lies in the folders of tests that draw at random; long files go first.

    Two processes then share the short ones, and neither waits for the other at the end.
    """
    for item in items:
        folder = item.path.relative_to(item.config.rootpath).parts[1]
        if folder in STATISTICAL and item.path.name.startswith("test_"):
            item.add_marker("statistical")
    long = {item.path for item in items if LONG & {mark.name for mark in item.iter_markers()}}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """Forget compiled programs in time: each is several memory mappings; XLA crashes at 65,530 of them."""
    yield
    maps = Path("/proc/self/maps")
    if "jax" in sys.modules and maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPPINGS:
        import jax

        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session", autouse=True)
def base_key(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Shift every integer key by --base-key, where lltc turns it into one of JAX."""
    shift = request.config.getoption("--base-key")
    if not shift:
        yield shift
        return
    import importlib

    import numpy as np

    from lltc.chains.streams import as_key

    shifted = lambda key: as_key(key + 1000 * shift if isinstance(key, int | np.integer) else key)
    with pytest.MonkeyPatch.context() as patch:
        for name in SEEDED:
            patch.setattr(importlib.import_module(name), "as_key", shifted)
        yield shift
