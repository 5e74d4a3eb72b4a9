"""The tutorial's files, as they stand on its page: trained and exported here, read where JAX alone is."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "torch_tutorial.md"


def test_the_files_of_the_tutorial_work_together(tmp_path):
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert [name for name, _ in blocks] == ["train.py", "network.py"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)

    def ran(*command):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
        return done.stdout

    ran(sys.executable, "train.py")
    assert len(list((tmp_path / "checkpoints").iterdir())) == 40
    ran(sys.executable, "-m", "lltc.export", "train:make_net", "net.pt2", "--example", "float32:5")
    words = re.search(r"^\$ lltc (check .*)$", PAGE.read_text(), re.MULTILINE)[1].split()
    told = ran(ROOT / ".venv/bin/lltc", *words)
    assert "found       nothing amiss" in told
    assert "30 of 30 numbers" in told
