"""`lltc doctor`."""

import os
import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from lltc.errors import printable
from lltc.version import ALGORITHM, VERSION, find_version


def doctor() -> None:
    """Print versions, devices, memory, cache and optional libraries, for a report of a fault.

    Nothing leaves the machine. What cannot be found out is said in its line.
    """
    for name, find in LINES.items():
        print(f"{name:<10}{_said(find)}", flush=True)


def _said(find: Callable[[], str]) -> str:
    """Return what `find` says, or why it cannot: a broken installation is what this command is for."""
    try:
        return printable(find())
    except Exception as error:
        return printable(f"cannot be told: {type(error).__name__}: {error}".replace("\n", " "))


def _lltc() -> str:
    import lltc

    return f"{VERSION}, algorithm {ALGORITHM}, in {_short(Path(lltc.__file__).parent)}"


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.platform()}"


def _jax() -> str:
    import jax

    wide = "float64" if jax.config.jax_enable_x64 else "float32"
    settings = [f"{name}={os.environ[name]}" for name in ("JAX_PLATFORMS", "XLA_FLAGS") if name in os.environ]
    return ", ".join([f"{jax.__version__}, jaxlib {find_version('jaxlib')}", wide, *settings])


def _devices() -> str:
    import jax

    kinds = [f"{device.platform} {device.device_kind}" for device in jax.devices()]
    return ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))


def _memory() -> str:
    import psutil

    from lltc.chains.memory import free_memory, read_memory

    whole = psutil.virtual_memory().total
    return (
        f"{free_memory() / 1e9:.1f} GB free for JAX; the machine has {whole / 1e9:.1f} GB and "
        f"{os.cpu_count()} processors; an estimate takes at most {read_memory(None) / 1e9:.1f} GB"
    )


def _cache() -> str:
    import jax

    from lltc.files import cache_folder

    folder = jax.config.jax_compilation_cache_dir or cache_folder("jax")
    if folder is None or not jax.config.jax_enable_compilation_cache:
        return "none: every process compiles anew"
    sizes = [path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()]
    return f"{_short(Path(folder))}, {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB"


def _needed() -> str:
    return ", ".join(f"{name} {find_version(name)}" for name in _requirements(optional=False))


def _optional() -> str:
    versions = {name: find_version(name) for name in _requirements(optional=True)}
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version != "—")
    absent = ", ".join(name for name, version in versions.items() if version == "—")
    return "; ".join(filter(None, (there, absent and f"not installed: {absent}")))


def _requirements(*, optional: bool) -> list[str]:
    """Return the names of the libraries that lltc's own metadata asks for."""
    try:
        stated = requires("lltc") or []
    except PackageNotFoundError:
        stated = []
    wanted = [text for text in stated if ("extra ==" in text) == optional]
    return list(dict.fromkeys(re.findall(r"^[\w.-]+", text)[0] for text in wanted))


def _short(path: Path) -> str:
    """Return a path without the name of who owns the home folder."""
    home = str(Path.home())
    return str(path).replace(home, "~", 1) if str(path).startswith(home + os.sep) else str(path)


LINES = {
    "lltc": _lltc,
    "python": _python,
    "jax": _jax,
    "devices": _devices,
    "memory": _memory,
    "cache": _cache,
    "needed": _needed,
    "optional": _optional,
}
