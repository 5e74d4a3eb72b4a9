"""Settings shared by all tests."""

from hypothesis import settings

# Machines are shared and the first example compiles: how long one takes says nothing of the law it tests.
settings.register_profile("lltc", deadline=None)
settings.load_profile("lltc")
