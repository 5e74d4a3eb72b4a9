"""The shape of the house: imports point down, nothing goes round in circles, files stay small."""

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.processes import ran

PACKAGE = Path(__file__).parent.parent / "lltc"
FLOORS = {
    "ground": {"bibliography", "errors", "types", "version", "files", "compilation", "export", "checkpoints"},
    "wings": {"posterior", "kernels", "transitions", "models", "toys", "report"},
    "chains": {"chains"},
    "diagnostics": {"diagnostics"},
    "inspection": {"inspection"},
    "estimates": {"estimates"},
    "fluctuations": {"fluctuations"},
    "probes": {"probes"},
    "sweeps": {"sweeps"},
    "top": {"citations", "demo", "cli"},
}
LEVEL = {room: level for level, rooms in enumerate(FLOORS.values()) for room in rooms}
ALONE = {"transitions", "checkpoints", "models", "toys", "report"}
# Networks by their names are read as checkpoints are.
USES = {"models": {"checkpoints"}}
BASE = {"bibliography", "errors", "types", "version", "files", "export"}
SHARED_FLOORS = (FLOORS["ground"], FLOORS["top"])
HALL = 10
SOURCES = {
    str(path.relative_to(PACKAGE.parent)): path.read_text()
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}


def imported_modules(source: str) -> set[str]:
    """Return every module of lltc that a file imports, inside functions and for type checkers too."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno} imports relatively"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return {name for name in modules if name.startswith("lltc.")}


def file_of(module: str, files: Iterable[str]) -> str | None:
    """Return the file that a module is, among `files`; None for a name inside a file."""
    stem = module.replace(".", "/")
    return next((name for name in (f"{stem}.py", f"{stem}/__init__.py") if name in files), None)


def file_graph(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which files each file imports."""
    return {
        name: {
            file
            for module in imported_modules(source)
            if (file := file_of(module, sources)) not in (None, name)
        }
        for name, source in sources.items()
    }


def folder_graph(files: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return which folders each folder's files import; the hall's files stand for themselves."""
    home = lambda name: str(Path(name).parent) if name.count("/") > 1 else name
    graph: dict[str, set[str]] = {}
    for name, others in files.items():
        graph.setdefault(home(name), set()).update({home(other) for other in others} - {home(name)})
    return graph


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the names along one circle of imports, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def room_of(module_or_file: str) -> str:
    return re.split(r"[./]", module_or_file)[1]


@pytest.mark.parametrize("name", SOURCES)
def test_imports_point_down(name: str):
    room = room_of(name)
    for module in imported_modules(SOURCES[name]):
        other = room_of(module)
        if other == room or any({room, other} <= floor for floor in SHARED_FLOORS):
            continue
        assert LEVEL[other] < LEVEL[room], f"{name} imports {module}, which does not lie below it"
        if room in ALONE:
            assert other in BASE | USES.get(room, set()), f"{room} stands alone but {name} imports {module}"


def test_no_file_and_no_folder_is_in_a_circle():
    files = file_graph(SOURCES)
    assert find_circle(files) == []
    assert find_circle(folder_graph(files)) == []


@pytest.mark.parametrize(
    "planted",
    [
        "import lltc.sweeps.driver",
        "from lltc.sweeps import driver",
        "from lltc.sweeps.driver import run_plans",
        "def later():\n    from lltc.sweeps.driver import run_plans",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lltc.sweeps.driver import run_plans",
    ],
)
def test_a_planted_circle_is_seen(planted: str):
    """The driver uses the worker; a worker that uses the driver closes a circle of files and of folders."""
    files = file_graph(SOURCES | {"lltc/sweeps/jobs/worker.py": planted})
    assert {"lltc/sweeps/driver.py", "lltc/sweeps/jobs/worker.py"} <= set(find_circle(files))
    assert {"lltc/sweeps", "lltc/sweeps/jobs"} <= set(find_circle(folder_graph(files)))


def test_no_class_name_is_used_for_two_things():
    classes = [
        node.name
        for source in SOURCES.values()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted(classes) == sorted(set(classes))


@pytest.mark.parametrize("name", SOURCES)
def test_files_stay_small(name: str):
    assert len(SOURCES[name].splitlines()) <= 350


def test_every_room_is_in_the_plan():
    assert {room_of(name).removesuffix(".py") for name in SOURCES} == set(LEVEL)
    assert len(FLOORS) <= HALL
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= HALL


def test_the_package_and_the_shell_import_without_jax():
    heavy = "('jax', 'arviz_base', 'arviz_stats', 'matplotlib', 'plotly', 'xarray', 'orbax')"
    code = f"import sys, lltc, lltc.cli; print([name for name in {heavy} if name in sys.modules])"
    assert ran([sys.executable, "-c", code]).strip() == "[]"


def test_public_names_resolve():
    import lltc

    for name in lltc.__all__:
        assert getattr(lltc, name) is not None


def test_names_that_texts_mention_resolve_after_importing_lltc():
    """Whatever is written as `lltc.something.else` in docstrings, the README and the docs is there."""
    root = PACKAGE.parent
    pages = [root / "README.md", *(root / "docs").glob("*.md")]
    texts = [*SOURCES.values(), *(page.read_text() for page in pages)]
    names = {name for text in texts for name in re.findall(r"`(lltc(?:\.\w+)+)", text)}
    assert len(names) > 20
    assert ran([sys.executable, "-c", RESOLVE, *sorted(names)]).split() == []


# Each name is looked up in a process that has imported nothing of lltc but itself.
RESOLVE = """
import os, sys, operator, arviz_base, arviz_stats, jax, numpyro, xarray, lltc
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            operator.attrgetter(name.removeprefix("lltc."))(lltc)
        except AttributeError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(name)
"""
