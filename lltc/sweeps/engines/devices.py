"""The accelerators of this machine."""

import os
from pathlib import Path


def gpus() -> list[str]:
    """Return the GPUs of this machine as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    return [str(index) for index, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
