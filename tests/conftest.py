"""Settings shared by all tests: compiled programs kept, marks by folder, another base key."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# Machines are shared and the first example compiles: how long one takes says nothing of the law it tests.
settings.register_profile("lltc", deadline=None)
settings.load_profile("lltc")

# Times taken beside other tests say little, and pytest-benchmark takes none: they run apart.
collect_ignore = ["test_speed.py"] if "PYTEST_XDIST_WORKER" in os.environ else []

STATISTICAL = {"kernels", "chains", "diagnostics", "estimates", "fluctuations", "probes", "toys"}
SEEDED = (
    "lltc.chains.streams",
    "lltc.estimates.estimator",
    "lltc.fluctuations.susceptibility",
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
    """Mark as statistical what lies in the folders of tests that draw at random."""
    for item in items:
        folder = item.path.relative_to(item.config.rootpath).parts[1]
        if folder in STATISTICAL and item.path.name.startswith("test_"):
            item.add_marker("statistical")


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
