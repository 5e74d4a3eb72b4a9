"""Import a framework when it is asked for, or say how to install it."""

import importlib
from types import ModuleType

from lltc.errors import InputError


def require(module: str, adapter: str, install: str) -> ModuleType:
    """Import ``module`` for ``adapter``; if its library is absent, name the pip command that brings it.

    Raises:
        InputError: the library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != library:
            raise
        raise InputError(
            f"{adapter} needs the library {library}, which is not installed: run  pip install '{install}'."
        ) from None
