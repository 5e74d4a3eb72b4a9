"""TorchSaver without PyTorch: which steps are written, and what is refused; with it, see tests_torch."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from lltc.checkpoints import TorchSaver, find_checkpoints
from lltc.errors import InputError


def test_only_the_chosen_steps_are_written_and_replaced(tmp_path):
    saver = TorchSaver(tmp_path / "run", [0, 5])
    for value in (1.0, 2.0):
        paths = [saver(step, {"layer.weight": np.full(2, value)}) for step in range(7)]
    assert [path and path.name for path in paths] == [
        "step_0.safetensors",
        *[None] * 4,
        "step_5.safetensors",
        None,
    ]
    assert [
        checkpoint.load()["layer"]["weight"].tolist() for checkpoint in find_checkpoints(tmp_path / "run")
    ] == [
        [2.0, 2.0],
        [2.0, 2.0],
    ]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "step_0.safetensors",
        "step_5.safetensors",
    ]


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"steps is empty"):
        TorchSaver(tmp_path, [])
    with pytest.raises(InputError, match=r"steps holds -1, but a step must be an integer from 0 on"):
        TorchSaver(tmp_path, [-1])
    with pytest.raises(InputError, match=r"folder is 's3://bucket', but TorchSaver writes to local folders"):
        TorchSaver("s3://bucket", [1])
    saver = TorchSaver(tmp_path, [1])
    with pytest.raises(InputError, match=r"step is 'one', but a step must be an integer"):
        saver("one", {})  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        InputError, match=r"module is a list, but must be a torch\.nn\.Module or its state_dict"
    ):
        saver(1, [np.ones(2)])


class FullyShardedDataParallel:
    """What PyTorch's wrapper is known by: its name."""


def test_shards_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"a FullyShardedDataParallel whose weights lie in shards; gather them"
    ):
        TorchSaver(tmp_path, [1])(1, FullyShardedDataParallel())


def test_shards_within_a_plain_module_are_refused_by_every_process(tmp_path, monkeypatch):
    monkeypatch.setattr("lltc.checkpoints.torch_saver._is_first", lambda: False)
    plain = SimpleNamespace(modules=lambda: [FullyShardedDataParallel()], parameters=list)
    partitioned = SimpleNamespace(modules=list, parameters=lambda: [SimpleNamespace(ds_id=0)])
    for module in (plain, partitioned):
        with pytest.raises(InputError, match="whose weights lie in shards"):
            TorchSaver(tmp_path, [1])(1, module)


@pytest.mark.parametrize(("method", "package"), [("lightning", "lightning"), ("trainer", "transformers")])
def test_missing_libraries_are_named_with_their_command(tmp_path, monkeypatch, method, package):
    for name in ("lightning", "lightning.pytorch.callbacks", "pytorch_lightning.callbacks", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        InputError, match=rf"^{package} is not installed; install it with: pip install {package}$"
    ):
        getattr(TorchSaver(tmp_path, [1]), method)()
