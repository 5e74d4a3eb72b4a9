"""Write the seeds anew: `python -m tests.fuzz.write_seeds`. PyTorch's are what `torch.save` wrote."""

import base64
import json
import shutil
import tempfile
import zlib
from pathlib import Path

import equinox
import flax.serialization
import numpy as np
import orbax.checkpoint as ocp
from safetensors.numpy import save_file

import lltc
from lltc.checkpoints import save_npz, save_safetensors
from tests.checkpoints.test_torch import WRITTEN
from tests.fuzz.targets import FOLDERS, NOTED, SEEDS, TEMPLATE


def main() -> None:
    """Write a small checkpoint of `TEMPLATE` in each format."""
    for name in ("npz", "safetensors", "msgpack", "equinox", "torch", "settings", "steps", *FOLDERS):
        shutil.rmtree(SEEDS / name, ignore_errors=True)
        (SEEDS / name).parent.mkdir(parents=True, exist_ok=True)
    for name in ("npz", "safetensors", "msgpack", "equinox", "torch", "settings", "steps"):
        (SEEDS / name).mkdir()
    flat = {f"{outer}/{inner}": a for outer in ("dense",) for inner, a in TEMPLATE[outer].items()}
    save_npz(SEEDS / "npz" / "params.npz", TEMPLATE)
    save_npz(SEEDS / "npz" / "noted.npz", NOTED)
    save_safetensors(SEEDS / "safetensors" / "noted.safetensors", NOTED)
    np.savez_compressed(SEEDS / "npz" / "compressed.npz", **flat)
    save_file(flat, SEEDS / "safetensors" / "params.safetensors")
    state = {"step": 1, "params": TEMPLATE}
    (SEEDS / "msgpack" / "state").write_bytes(flax.serialization.msgpack_serialize(state))
    equinox.tree_serialise_leaves(SEEDS / "equinox" / "params.eqx", TEMPLATE)
    for name, text in WRITTEN.items():
        (SEEDS / "torch" / name).write_bytes(zlib.decompress(base64.b85decode(text)))
    for kind, grouped in (("orbax_ocdbt", True), ("orbax_zarr", False)):
        saver = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=grouped))
        saver.save((SEEDS / kind).absolute(), TEMPLATE)
    _write_shards(SEEDS / "sharded", flat)
    (SEEDS / "steps" / "names").write_text("ckpt_step=1.5k-epoch-3")
    _write_settings(SEEDS / "settings" / "sweep.json")


def _write_shards(folder: Path, flat: dict[str, np.ndarray]) -> None:
    folder.mkdir()
    names = {key: f"model-0000{at}-of-00002.safetensors" for at, key in enumerate(sorted(flat), 1)}
    for key, name in names.items():
        save_file({key: flat[key]}, folder / name)
    index = {"metadata": {"total_size": 36}, "weight_map": names}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _write_settings(path: Path) -> None:

    with tempfile.TemporaryDirectory() as home:
        pairs = [(step, np.full(2, 0.01 * step, np.float32)) for step in (1, 2)]
        few = {"num_draws": 32, "num_warmup": 32, "progress": False}
        lltc.sweep(pairs, lambda w, x: (x @ w) ** 2, np.ones((9, 2), np.float32), out=f"{home}/out", **few)
        path.write_text((Path(home) / "out" / "sweep.json").read_text())


if __name__ == "__main__":
    main()
