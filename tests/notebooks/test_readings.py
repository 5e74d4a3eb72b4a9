"""The example of docs/readings.md runs as it stands, and one cluster is what the copying head copies."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.processes import ran

ROOT = Path(__file__).parents[2]
TOLD = """
copying = [c for c in range(len(clusters.stability)) if clusters.strongest(c)[0][0] == "copy"]
rising = [c for c in copying if clusters.strongest(c)[0][1][0] > 0]
inside, late = np.isin(clusters.labels, rising), record.tokens.position >= HALF
import json
print(json.dumps({"size": int(inside.sum()), "late": float(late[inside].mean()), "all": float(late.mean())}))
"""


@pytest.mark.notebook
def test_the_example_runs_and_finds_what_is_copied(tmp_path):
    text = (ROOT / "docs" / "readings.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    command = [sys.executable, "-c", code + TOLD]
    told = ran(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert told.startswith("LossRecord(720 tokens of 60 examples, 2 components, 500 draws and 125 of")
    assert (tmp_path / "tokens.html").exists()
    cluster = json.loads(told.splitlines()[-1])
    assert cluster["size"] > 50
    assert cluster["late"] > 0.8 > 0.6 > cluster["all"]
