"""Files as `torch.save` writes them, of NumPy arrays for tensors, without PyTorch."""

import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np


def save_torch(path: Path, state: Any) -> Path:
    """Write `state`, in which float32 arrays stand for tensors."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    storage = type("FloatStorage", (), {"__module__": "torch"})

    def rebuild(*_: Any) -> None:
        raise NotImplementedError

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch.__dict__["FloatStorage"], utils.__dict__["_rebuild_tensor_v2"] = storage, rebuild
    arrays: list[np.ndarray] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            if not isinstance(obj, memoryview):
                return None
            arrays.append(np.asarray(obj))
            return ("storage", storage, str(len(arrays) - 1), "cpu", arrays[-1].size)

        def reducer_override(self, obj: Any) -> Any:
            if not isinstance(obj, np.ndarray):
                return NotImplemented
            strides = tuple(stride // obj.itemsize for stride in obj.strides)
            return rebuild, (memoryview(obj), 0, obj.shape, strides, False, OrderedDict())

    with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        stream = BytesIO()
        Pickler(stream, protocol=2).dump(state)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        for number, array in enumerate(arrays):
            archive.writestr(f"archive/data/{number}", array.tobytes())
    return path
