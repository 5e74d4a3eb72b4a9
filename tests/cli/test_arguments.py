"""Objects named on the command line: a module or a function that fails is told with its place."""

import pytest

from lltc.cli.arguments import load_attribute, load_value
from lltc.errors import InputError


@pytest.mark.parametrize(
    ("name", "source", "match"),
    [
        (
            "raises",
            "raise RuntimeError('one line\\nand another')",
            r"RuntimeError: one line\) at .*raises.py:1;",
        ),
        ("broken", "\ndef (", r"SyntaxError: invalid syntax .* at .*broken.py:2;"),
        ("lacking", "import no_such_module", "No module named 'no_such_module'"),
    ],
    ids=str,
)
def test_a_module_that_fails_is_told_with_its_place(tmp_path, monkeypatch, name, source, match):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"failing_{name}.py").write_text(source)
    with pytest.raises(InputError, match=match) as caught:
        load_attribute("model", f"failing_{name}:loss")
    assert "\n" not in str(caught.value)


def test_a_function_that_fails_is_told_with_its_place(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "failing_data.py").write_text(
        "def data():\n    return open('gone')\ndef needy(path):\n    pass\n"
    )
    with pytest.raises(
        InputError, match=r"called without arguments and fails \(FileNotFoundError.*data.py:2;"
    ):
        load_value("data", "failing_data:data")
    with pytest.raises(InputError, match=r"TypeError: needy\(\) missing 1 required"):
        load_value("data", "failing_data:needy")
