"""Local learning coefficients over training: untuned estimates, curves with marked transitions.

The public names stand in `__init__.pyi` and are imported on first use: `import lltc` does not wait for JAX.
"""

import lazy_loader

from lltc.version import find_version

__version__ = find_version()
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
