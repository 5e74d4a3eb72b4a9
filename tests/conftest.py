"""Settings shared by all tests."""

import os

import pytest
from hypothesis import settings

from tests.browsing import CHROMIUM

# Machines are shared and the first example compiles: how long one takes says nothing of the law it tests.
settings.register_profile("lltc", deadline=None)
settings.load_profile("lltc")

# Times taken beside other tests say little, and pytest-benchmark takes none: `make test` runs these apart.
collect_ignore = ["test_speed.py"] if "PYTEST_XDIST_WORKER" in os.environ else []


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what looks at pages where there is no browser, which no Python package brings; CI installs one."""
    if CHROMIUM is None and item.get_closest_marker("browser"):
        pytest.skip("needs Debian's chromium on the path: apt-get install --no-install-recommends chromium")
