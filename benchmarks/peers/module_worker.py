"""One PyTorch module: trained, exported, and sampled by devinterp 2; runs in devinterp's own environment.

`module_worker.py prepare FOLDER` trains a small GPT on the sources of Python's own library and writes its
tokens, its module as `module.pt2` and its weights. `module_worker.py sample FOLDER` reads `spec.json` there
and prints JSON: what devinterp's `llc` finds with each learning rate, and the seconds it took. The loss is KL
from the checkpoint's own predictions, token by token, so that the checkpoint is a minimum.
"""

import contextlib
import json
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "tests_torch")]
LETTERS, LENGTH, ROWS, STEPS = 40, 17, 4096, 1500


def make_module() -> Any:
    """Return the network, as `python -m lltc.export` takes it."""
    from modules import GPT

    torch.manual_seed(0)
    module = GPT(vocab=LETTERS, width=16, heads=2, layers=2, length=LENGTH - 1)
    # devinterp samples in training mode: dropout would count as a distance from the checkpoint.
    module.dropout.p = 0.0
    return module.eval()


def read_tokens() -> np.ndarray:
    """Return rows of tokens `(row, 17)`: the most common characters by number, all others 0."""
    text = ""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += path.read_text(errors="ignore")
        if len(text) > ROWS * LENGTH:
            break
    text = text[: ROWS * LENGTH]
    common = sorted(set(text), key=text.count)[:-LETTERS:-1]
    number = {letter: at + 1 for at, letter in enumerate(common)}
    return np.array([number.get(letter, 0) for letter in text], np.int32).reshape(ROWS, LENGTH)


def prepare(folder: Path) -> None:
    """Train with AdamW, and write what either side reads."""
    from lltc.export.__main__ import write_program
    from lltc.export.program import export_program

    rows, module = read_tokens(), make_module()
    tokens = torch.from_numpy(rows).long()
    optimizer, losses = torch.optim.AdamW(module.parameters(), lr=3e-3), []
    for _ in range(STEPS):
        batch = tokens[torch.randint(ROWS, (64,))]
        loss = functional.cross_entropy(module(batch[:, :-1])["logits"].flatten(0, 1), batch[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    np.save(folder / "tokens.npy", rows)
    torch.save(module.state_dict(), folder / "module.pt")
    example = torch.zeros((2, LENGTH - 1), dtype=torch.int64)
    write_program(export_program(module, (example,), {}, free_rows=True), str(folder / "module.pt2"))
    print(json.dumps({"loss": losses[-1], "num_params": sum(w.numel() for w in module.parameters())}))


def sample(folder: Path) -> None:
    """Run devinterp with each learning rate, as many chains, steps and rows a step as `spec.json` says."""
    from datasets import Dataset
    from devinterp.slt.llc import llc

    spec, module = json.loads((folder / "spec.json").read_text()), make_module()
    module.load_state_dict(torch.load(folder / "module.pt", weights_only=True))
    with torch.no_grad():
        at_center = make_module()
        at_center.load_state_dict(module.state_dict())

    def from_center(model: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = functional.log_softmax(at_center(tokens[:, :-1])["logits"], -1)
        log_probabilities = functional.log_softmax(model(tokens[:, :-1])["logits"], -1)
        return functional.kl_div(log_probabilities, wanted, reduction="none", log_target=True).sum(-1)

    data = Dataset.from_dict({"input_ids": np.load(folder / "tokens.npy")}).with_format("torch")
    for lr in spec["rates"]:
        began = time.perf_counter()
        with Path("/dev/null").open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            answer: Any = llc(
                module,
                data,
                {},
                lr=lr,
                n_beta=spec["nbeta"],
                localization=spec["localization"],
                loss_fn=from_center,
                num_chains=spec["num_chains"],
                num_draws=spec["num_draws"],
                num_burnin_steps=spec["num_burnin_steps"],
                batch_size=spec["batch_size"],
            )
        told = {"lr": lr, "seconds": time.perf_counter() - began}
        trace = np.asarray(answer["loss_trace"])[:, spec["num_burnin_steps"] :]
        after = spec["nbeta"] * (trace.mean(-1) - float(np.asarray(answer["init_loss"]).mean()))
        told |= {"llc": float(answer["llc_mean"]), "after_burnin": float(after.mean())}
        told["std"] = float(after.std(ddof=1))
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    {"prepare": prepare, "sample": sample}[sys.argv[1]](Path(sys.argv[2]))
