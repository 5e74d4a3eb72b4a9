"""One PyTorch module: trained, exported, and sampled by devinterp; runs in devinterp's own environment.

`module_worker.py prepare FOLDER NAME` trains a module of torch_modules.py and writes what it reads, its
export as `module.pt2` and its weights. `module_worker.py sample FOLDER NAME` reads `spec.json` there and
prints a line of JSON for each run of devinterp: 1.3.2 for images, 2.0.1 for tokens, which is all it takes.
The loss is KL from the checkpoint's own answers, so that the checkpoint is a minimum, and its loss 0.

With each learning rate 4 chains draw as many steps as they burn in: 250 first, doubled until the chains'
spread / 2 is at most 2 % of the estimate, or the next run would take longer than `most_seconds`.
"""

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch_modules import IMAGES, make_data, make_module, train

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[1] / "tests_torch")]
STEPS, CHAINS, DRAWS, TARGET = 1500, 4, 250, 0.02

Loss = Callable[[torch.nn.Module, Any], torch.Tensor]


def prepare(folder: Path, name: str) -> None:
    """Train, and write what either side reads."""
    from lltc.export.__main__ import write_program
    from lltc.export.program import export_program

    inputs, targets = make_data(name)
    module, rows = make_module(name), torch.from_numpy(inputs)
    rows = rows if name in IMAGES else rows.long()
    loss = train(module, rows, torch.from_numpy(targets).long(), STEPS)
    np.save(folder / "inputs.npy", inputs)
    torch.save(module.state_dict(), folder / "module.pt")
    write_program(export_program(module, (rows[:2],), {}, free_rows=True), str(folder / "module.pt2"))
    print(json.dumps({"loss": loss, "num_params": sum(w.numel() for w in module.parameters())}))


def read_module(folder: Path, name: str) -> torch.nn.Module:
    """Return the trained module."""
    module = make_module(name)
    module.load_state_dict(torch.load(folder / "module.pt", weights_only=True))
    return module


def from_center(center: torch.nn.Module) -> Loss:
    """Return the loss of each row, or of each token: KL from the answers of `center`."""

    def loss(module: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = functional.log_softmax(center(inputs), -1)
        answers = functional.log_softmax(module(inputs), -1)
        return functional.kl_div(answers, wanted, reduction="none", log_target=True).sum(-1)

    return loss


def sample_images(module: Any, loss: Loss, inputs: torch.Tensor, spec: dict, lr: float, steps: int) -> Any:
    """Return 1.3.2's estimate of each chain."""
    from devinterp.optim.sgmcmc import SGMCMC
    from devinterp.slt.sampler import estimate_learning_coeff_with_summary
    from torch.utils.data import DataLoader, TensorDataset

    summary = estimate_learning_coeff_with_summary(
        module,
        DataLoader(TensorDataset(inputs), batch_size=spec["batch_size"], shuffle=True, drop_last=True),
        evaluate=lambda model, batch: loss(model, batch[0]).mean(),
        sampling_method=SGMCMC.sgld,
        optimizer_kwargs={"lr": lr, "nbeta": spec["nbeta"], "localization": spec["localization"]},
        num_chains=CHAINS,
        num_draws=steps - steps // 2,
        num_burnin_steps=steps // 2,
        init_loss=0.0,
        seed=0,
        verbose=False,
    )
    return [summary[f"llc-chain/{chain}"] for chain in range(CHAINS)]


def sample_tokens(module: Any, loss: Loss, inputs: torch.Tensor, spec: dict, lr: float, steps: int) -> Any:
    """Return 2.0.1's estimate of each chain, its steps of burn-in left out."""
    from datasets import Dataset
    from devinterp.slt.llc import llc

    answer: Any = llc(
        module,
        # 2.0.1 wants one loss less than there are tokens: nobody reads the last.
        Dataset.from_dict({"input_ids": np.pad(inputs.numpy(), ((0, 0), (0, 1)))}).with_format("torch"),
        {},
        lr=lr,
        n_beta=spec["nbeta"],
        localization=spec["localization"],
        loss_fn=lambda model, tokens: loss(model, tokens[:, :-1]),
        num_chains=CHAINS,
        num_draws=steps - steps // 2,
        num_burnin_steps=steps // 2,
        batch_size=spec["batch_size"],
    )
    trace = np.asarray(answer["loss_trace"])[:, steps // 2 :]
    return spec["nbeta"] * (trace.mean(-1) - float(np.asarray(answer["init_loss"]).mean()))


def sample(folder: Path, name: str) -> None:
    """Print what each run finds: learning rate, gradients of examples, seconds, the estimate and its bar."""
    spec, module = json.loads((folder / "spec.json").read_text()), read_module(folder, name)
    loss, inputs = from_center(read_module(folder, name)), torch.from_numpy(np.load(folder / "inputs.npy"))
    run = sample_images if name in IMAGES else sample_tokens
    for lr in spec["rates"]:
        steps, seconds = 2 * DRAWS, 0.0
        while 2 * seconds <= spec["most_seconds"]:
            began = time.perf_counter()
            try:
                with Path("/dev/null").open("w") as nowhere, contextlib.redirect_stderr(nowhere):
                    chains = np.asarray(run(module, loss, inputs, spec, lr, steps), float)
            except RuntimeError as error:
                if "nan" not in str(error).lower():
                    raise
                chains = np.full(CHAINS, np.nan)
            seconds, spread = time.perf_counter() - began, chains.std(ddof=1) / CHAINS**0.5
            told = {"lr": lr, "gradients": steps * CHAINS * spec["batch_size"], "seconds": seconds}
            print(json.dumps(told | {"llc": chains.mean(), "llc_se": spread}), flush=True)
            if not spread > TARGET * abs(chains.mean()):
                break
            steps *= 2


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"prepare": prepare, "sample": sample}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
