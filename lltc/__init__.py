"""Local learning coefficients over training: untuned estimates, curves with marked transitions.

The public names stand in `__init__.pyi` and are imported on first use: `import lltc` does not wait for JAX.
"""

from lltc.version import find_version

__version__ = find_version()
try:
    import lazy_loader
except ModuleNotFoundError:
    # `python -m lltc.export` runs beside PyTorch alone, where lltc is no more than a folder on the path.
    __all__: list[str] = []
else:
    __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
