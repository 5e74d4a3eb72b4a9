"""Write tests/models/exported: each network as a `.pt2` file, and what PyTorch says of it as `.npz`.

And tests/models/named: a network of Hugging Face's, what is remembered of it, and what PyTorch says of it.

.ci/torch python tests_torch/make_fixtures.py
"""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from families import IDS, as_on_the_hub, build, losses_of
from modules import MODULES, make
from references import reference

from lltc import models
from lltc.export.__main__ import write_program
from lltc.export.program import export_program

FOLDER = Path(__file__).parent.parent / "tests" / "models" / "exported"
NAMED = FOLDER.with_name("named")
SIZES = {"vocab_size": 40, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 12}


def main(names):
    if names in ([], ["named"]):
        write_named()
    for name in [name for name in names or MODULES if name in MODULES]:
        module, args, kwargs, pick = make(name)
        two = lambda value: value[:2]
        program = export_program(
            module, tuple(map(two, args)), {key: two(value) for key, value in kwargs.items()}, free_rows=True
        )
        write_program(program, str(FOLDER / f"{name}.pt2"))
        arrays = reference(module, args, kwargs, pick)
        np.savez_compressed(FOLDER / f"{name}.npz", **arrays)
        print(name, torch.__version__, {key: arrays[key].shape for key in arrays if key[0] in "xy"})


def write_named():
    """Write a tiny GPT-2 as the hub has it, and the graphs that lltc remembers of it."""
    shutil.rmtree(NAMED, ignore_errors=True)
    NAMED.mkdir()
    module = build("GPT2", "CausalLM", SIZES | {"bos_token_id": 0, "eos_token_id": 0})
    as_on_the_hub(NAMED / "net", module)
    os.environ["XDG_CACHE_HOME"] = str(NAMED / "cache")
    model = models.hugging_face(NAMED / "net")
    for rows in (IDS, IDS[:1]):
        model(model.params, rows)
    ids = torch.tensor(IDS)
    losses = losses_of(module(ids).logits[:, :-1], ids[:, 1:]).detach().numpy()
    np.savez(NAMED / "losses.npz", ids=IDS, losses=losses)
    print("named", torch.__version__, losses)


if __name__ == "__main__":
    main(sys.argv[1:])
