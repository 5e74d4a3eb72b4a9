"""devinterp's chain-steps a second, on a network in PyTorch; runs in devinterp's own environment.

`speed_worker.py SPEC [--favoured]` reads the JSON that `speed_peers.py` wrote and prints JSON: chain-steps a
second, the loss of the first batch at w* and the number of parameters, to be compared.

- 1.3.2: `estimate_learning_coeff_with_summary` with `SGMCMC.sgld`, as many burn-in steps as draws, and a
  `DataLoader(TensorDataset(…), shuffle=True, drop_last=True)`. Chains run one after another, which is its
  default. `--favoured`: a batch is one indexing, not one an example, and `cores=` shares the chains out
  among as many processes as there are cores, one thread each.
- 2.0.1 takes autoregressive language models only: `llc` with a `datasets.Dataset` of `input_ids`. Chains run
  one after another; there is no option. Its default loss evaluates all 65 tokens and drops the last;
  `loss_fn` here evaluates the 64 that count. No observables, one batch for the loss at w*.
"""

import contextlib
import json
import os
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import steps_a_second
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torch_networks import build

STEP_SIZE = 1e-8


class Slices(DataLoader):
    """Shuffled full batches, each by one indexing of the tensors."""

    def __iter__(self) -> Any:
        size, batch = len(self.dataset), self.batch_size or 1
        for rows in torch.randperm(size)[: size // batch * batch].view(-1, batch):
            yield self.dataset[rows]


def squared(model: nn.Module, batch: Any) -> torch.Tensor:
    """Return the mean over examples of half the squared distance."""
    x, y = batch
    return 0.5 * ((model(x) - y) ** 2).sum(-1).mean()


def cross_entropy(model: nn.Module, batch: Any) -> torch.Tensor:
    """Return the mean -log p(label)."""
    x, y = batch
    return functional.cross_entropy(model(x), y)


def by_token(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Return -log p of each token but the first, (sequence, token)."""
    return functional.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:], reduction="none")


def sampler(spec: dict[str, Any], model: nn.Module, data: dict[str, torch.Tensor], favoured: bool) -> Any:
    """Return what runs every chain for so many steps, and the loss of the first batch."""
    rows = slice(spec["batch_size"])
    if "tokens" in data:
        return partial(draw_tokens, spec, model, data["tokens"]), by_token(model, data["tokens"][rows]).mean()
    loss = squared if data["y"].is_floating_point() else cross_entropy
    dataset = TensorDataset(data["x"], data["y"])
    kind = Slices if favoured else DataLoader
    loader = kind(dataset, batch_size=spec["batch_size"], shuffle=True, drop_last=True)
    cores = (os.cpu_count() or 1) if favoured else 1
    first = loss(model, dataset[rows])
    return partial(draw_examples, spec, model, loader, loss, float(first), cores), first


def draw_examples(
    spec: dict[str, Any], model: nn.Module, loader: Any, loss: Any, first: float, cores: int, count: int
) -> None:
    """Run 1.3.2."""
    from devinterp.optim.sgmcmc import SGMCMC
    from devinterp.slt.sampler import estimate_learning_coeff_with_summary

    estimate_learning_coeff_with_summary(
        model,
        loader,
        evaluate=loss,
        sampling_method=SGMCMC.sgld,
        optimizer_kwargs={"lr": STEP_SIZE, "nbeta": spec["nbeta"], "localization": 1.0},
        num_chains=spec["num_chains"],
        num_draws=count // 2,
        num_burnin_steps=count // 2,
        init_loss=first,
        cores=cores,
        seed=0,
        verbose=False,
    )


def draw_tokens(spec: dict[str, Any], model: nn.Module, tokens: torch.Tensor, count: int) -> None:
    """Run 2.0.1."""
    from datasets import Dataset
    from devinterp.slt.llc import llc

    llc(
        model,
        Dataset.from_dict({"input_ids": tokens.numpy()}).with_format("torch"),
        {},
        lr=STEP_SIZE,
        n_beta=spec["nbeta"],
        localization=1.0,
        loss_fn=by_token,
        num_chains=spec["num_chains"],
        num_draws=count // 2,
        num_burnin_steps=count // 2,
        batch_size=spec["batch_size"],
        num_init_loss_batches=1,
    )


def main() -> None:
    """Measure and print."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    favoured = "--favoured" in sys.argv
    with np.load(spec["arrays"]) as file:
        arrays = dict(file)
    data = {
        name.removeprefix("data/"): torch.from_numpy(arrays.pop(name))
        for name in list(arrays)
        if name.startswith("data/")
    }
    model = build(arrays, spec["heads"])
    task, first = sampler(spec, model, data, favoured)
    # What `cores` starts takes seconds and is not quite the same each time: hence longer runs there.
    least = spec["seconds"] * (4 if favoured else 1)
    if favoured:
        os.environ["OMP_NUM_THREADS"] = "1"  # of each such process
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        rate = steps_a_second(task, least)
    print(
        json.dumps(
            {
                "rate": rate * spec["num_chains"],
                "loss": float(first),
                "num_params": sum(weight.numel() for weight in model.parameters()),
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
