"""What the project promises around its code: recipe, citation file, workflows, texts without slips."""

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import scale_cost
import yaml

from lltc.bibliography import entries
from tests.processes import ran

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Names that conda-forge spells otherwise.
CONDA = {"matplotlib-base": "matplotlib", "msgpack-python": "msgpack", "ml_dtypes": "ml-dtypes"}
TEXTS = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks" / "results").glob("*.md")]


def test_the_conda_recipe_asks_for_what_the_project_asks_for():
    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text())
    stated = {re.sub(r"\[.*\]| ", "", text) for text in PROJECT["project"]["dependencies"]}
    stated.add(f"python{PROJECT['project']['requires-python']}")
    asked = set()
    for text in recipe["requirements"]["run"]:
        name, _, version = text.partition(" ")
        asked.add(CONDA.get(name, name) + version)
    assert asked == stated


def test_the_citation_file_names_what_the_bibtex_names():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(cited)
    assert f"{{{cited['title']}}}" in entries()["lltc"]
    assert f"{{{cited['references'][0]['title']}}}" in entries()["lau2025local"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_workflows_and_templates_can_be_read_and_call_what_is_there(path: Path):
    text = path.read_text()
    assert isinstance(yaml.safe_load(text), dict)
    for target in re.findall(r"run: make ([\w -]+)", text):
        ran(["make", "-n", *target.split()], cwd=ROOT)
    for script in re.findall(r"run: (\.ci/\w+)", text):
        assert (ROOT / script).stat().st_mode & 0o100


def test_the_versions_tried_are_those_that_are_supported():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text())
    tried = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert PROJECT["project"]["requires-python"] == f">={tried[0]}"
    assert all(version in (ROOT / ".ci" / "wheels").read_text() for version in tried)


def test_the_files_to_copy_are_there():
    named = re.findall(
        r"`((?:lltc|tests|docs|benchmarks|\.ci)[/\w.-]*)`", (ROOT / "CONTRIBUTING.md").read_text()
    )
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_in_texts_lead_somewhere(path: Path):
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    local = [target.partition("#")[0] for target in targets if "://" not in target and target[0] != "#"]
    made = {"images/architecture.svg"}
    assert [name for name in local if name not in made and not (path.parent / name).exists()] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_decimals_in_texts_have_their_leading_zero(path: Path):
    assert re.findall(r"(?<![\w.\d*/])\.\d+(?![\d.]*[a-z/])", path.read_text()) == []


def test_the_costs_at_scale_are_those_that_their_command_prints(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scale_cost.py"])
    scale_cost.main()
    assert capsys.readouterr().out in (ROOT / "docs" / "scale.md").read_text()


def test_every_public_name_is_in_the_api():
    exports = re.findall(
        r"^from (\.\S*) import (\w+) as", (ROOT / "lltc" / "__init__.pyi").read_text(), re.MULTILINE
    )
    page = (ROOT / "docs" / "api.md").read_text()
    named = set(re.findall(r"^\.\. auto(?:function|class):: (?:[\w.]+\.)?(\w+)$", page, re.MULTILINE))
    # The page takes lltc.models whole.
    public = {name for module, name in exports if module not in (".", ".models")}
    assert public - named == set()


def test_every_benchmark_says_when_and_where_it_was_run():
    writing = [
        path
        for path in (ROOT / "benchmarks").glob("*.py")
        if re.search(r"RESULTS|results/\w+\.md", path.read_text()) and "write_text" in path.read_text()
    ]
    assert len(writing) > 10
    assert [path.name for path in writing if "describe_run" not in path.read_text()] == []


def test_the_picture_of_the_architecture_has_every_room_and_no_way_twice(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs"), *sys.path])
    from draw_architecture import draw, room_graph, without_shortcuts

    text = "\n".join(draw())
    graph = room_graph()
    assert all(f">{room}</text>" in text for room in graph)
    diamond = {"a": {"b", "c", "d"}, "b": {"d"}, "c": {"d"}, "d": set()}
    assert without_shortcuts(diamond) == {"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}


def test_notebooks_are_kept_without_outputs():
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        assert not any(cell.get("outputs") for cell in cells), path.name
