"""The shape of the house: imports point down, files stay small, the shell starts without JAX."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lltc"
LAYERS = [
    ["errors", "types", "version"],
    ["files", "compilation"],
    ["posterior"],
    ["kernels"],
    ["chains"],
    ["diagnostics"],
    ["transitions"],
    ["report"],
    ["estimates"],
    ["fluctuations"],
    ["probes"],
    ["checkpoints"],
    ["models"],
    ["toys"],
    ["sweeps"],
    ["demo"],
    ["cli"],
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
FLOOR = {"errors", "types", "version", "files"}
ALONE = {"transitions", "checkpoints", "models", "toys", "report"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            names = [f"lltc.{alias.name}" for alias in node.names] if module == "lltc" else [module]
        rooms |= {name.split(".")[1] for name in names if name.startswith("lltc.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path):
    room = room_of(path)
    for other in imported_rooms(path) - {room}:
        assert RANK[other] < RANK[room], f"{room} imports {other}, which lies above it"
        if room in ALONE:
            assert other in ("errors", "types", "version", "files"), (
                f"{room} stands alone but imports {other}"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small(path: Path):
    assert len(path.read_text().splitlines()) <= 350


def test_every_room_is_in_the_plan():
    assert {room_of(path) for path in FILES} <= set(RANK)


def test_the_package_and_the_shell_import_without_jax():
    heavy = "('jax', 'arviz_base', 'arviz_stats', 'matplotlib', 'plotly', 'xarray', 'orbax')"
    code = f"import sys, lltc, lltc.cli; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_public_names_resolve():
    import lltc

    for name in lltc.__all__:
        assert getattr(lltc, name) is not None
