"""Running a notebook from top to bottom at its small size: what it printed, drew, and holds at the end."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from tests.processes import PATIENCE

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
STATE = """
import json, sys
print(json.dumps({{"executable": sys.executable}} | {state}, default=lambda value: value.tolist()))
"""


class Executed(NamedTuple):
    """A notebook's outputs by cell id, what its variables hold at the end, and the folder it ran in."""

    outputs: dict[str, list[Any]]
    state: dict[str, Any]
    folder: Path

    def text(self, cell: str) -> str:
        """Return what a cell printed."""
        return text(self.outputs[cell])

    def pictures(self, cell: str) -> list[str]:
        """Return a cell's pictures, PNG in base64."""
        found = [output.get("data", {}) for output in self.outputs[cell]]
        return [data["image/png"] for data in found if "image/png" in data]


def execute(name: str, folder: Path, state: str) -> Executed:
    """Run a notebook in `folder`, beside copies of the files it imports; `state` is a dict's expression."""
    for file in NOTEBOOKS.glob("*.py"):
        shutil.copy(file, folder)
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(STATE.format(state=state), id="state"))
    where = {"metadata": {"path": str(folder)}}
    patient: dict[str, Any] = {"timeout": int(PATIENCE), "startup_timeout": int(PATIENCE)}
    small = {"LLTC_NOTEBOOK_SIZE": "small", "PYTHONPATH": str(NOTEBOOKS.parent)}
    with tempfile.TemporaryDirectory() as place:
        # Sockets that are files need no ports, which others may take; their paths must be short.
        sockets = Config({"KernelManager": {"transport": "ipc", "ip": f"{place}/kernel"}})
        client = NotebookClient(notebook, kernel_name="python3", resources=where, config=sockets, **patient)
        with patch.dict(os.environ, small | {"JUPYTER_RUNTIME_DIR": place, "IPYTHONDIR": place}):
            client.execute()
    outputs = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    return Executed(outputs, json.loads(text(outputs["state"])), folder)


def text(outputs: list[Any]) -> str:
    """Return what was printed to standard output."""
    return "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
