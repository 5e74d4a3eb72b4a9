"""devinterp on lltc's problems; runs in devinterp's own environment.

Settings and where they come from (https://github.com/timaeus-research/devinterp):

- 8 chains, as many burn-in steps as draws, learning rate 1e-3: `examples/llc_calibration.py`, the authors'
  own check against learning coefficients known in closed form; 1e-3 is also the README's learning rate.
  `sample()` of 1.3.2 warns when burn-in is shorter than the draws.
- Grid of learning rates, 8 from 1e-6 to 1e-2: defaults of `EpsilonBetaAnalyzer.configure_sweep` (vis_utils).
- "ε should be the greatest possible value that doesn't cause excessive numerical instability ...; an MALA
  proposal acceptance rate between 0.9 - 0.95 is roughly optimal": `examples/epsilon_beta.ipynb`. Acceptance
  is measured by its own `MalaAcceptanceRate` on the full data (on minibatches it measures the batches' noise)
  with the older class `SGLD`: with `SGMCMC.sgld` 1.3.2 answers 1 at any step, since `dws`, kept for the
  next draw, is emptied by `zero_grad`.
- RMSprop-SGLD divides by √v + 0.1, so its step at w* is ten times its learning rate: beside 1e-3 it is run at
  a tenth of the accepted learning rate.
- `init_loss` is the loss on the full data, which the maintainers prefer (thread 38), not on a few batches.
- nbeta and localization are the problem's: they define the density. devinterp's update,
  `w ← w - ε/2 (nβ ∇L_B + γ (w - w*)) + √ε ξ`, is that of lltc.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
import torch
from common import NUM_CHAINS, STEP_SIZES, Job, flat_loss, main, misfit, row, take
from devinterp.optim.sgld import SGLD
from devinterp.optim.sgmcmc import SGMCMC
from devinterp.slt.mala import MalaAcceptanceRate
from devinterp.slt.sampler import estimate_learning_coeff_with_summary
from torch.utils.data import DataLoader

from lltc.toys import ToyProblem

STEP_SIZE = 1e-3
ACCEPTANCE = 0.9


class JaxLoss(torch.autograd.Function):
    """A loss whose value and gradient JAX computes."""

    @staticmethod
    def forward(ctx: Any, w: torch.Tensor, rows: torch.Tensor, value_and_grad: Callable) -> torch.Tensor:
        """Compute both at once and keep the gradient."""
        both = torch.from_numpy(np.array(value_and_grad(w.detach().numpy(), rows.numpy())))
        ctx.gradient = both[1:]
        return both[0].clone()

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple:
        """Return the gradient kept."""
        return outer[0] * ctx.gradient, None, None


class Model(torch.nn.Module):
    """The parameters of a problem as one vector; returns the loss of the examples it is given."""

    def __init__(self, w: np.ndarray, value_and_grad: Callable) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.from_numpy(w.copy()))
        self.value_and_grad = value_and_grad

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of the examples numbered `rows`."""
        return JaxLoss.apply(self.w, rows, self.value_and_grad)


class Batches(DataLoader):
    """What `DataLoader(shuffle=True, drop_last=True)` yields, without its cost an example."""

    def __iter__(self) -> Any:
        size, batch = len(self.dataset), self.batch_size or 1
        order = torch.randperm(size) if batch < size else torch.arange(size)
        yield from order[: size // batch * batch].view(-1, batch)


def evaluate(model: Model, rows: torch.Tensor) -> torch.Tensor:
    """Tell devinterp how to evaluate the model, which it demands where the loss at w* is 0."""
    return model(rows)


def build(problem: ToyProblem, batch_size: int) -> tuple[Model, Batches, float]:
    """Return model, loader and the loss at w* on all data."""
    w, loss = flat_loss(problem)
    data = jax.tree.map(jnp.asarray, problem.data)

    @jax.jit
    def whole(w: jax.Array, data: Any) -> jax.Array:
        value, gradient = jax.value_and_grad(loss)(w, data)
        return jnp.concatenate([value[None], gradient])

    some = jax.jit(lambda w, data, rows: whole(w, take(data, rows)))

    def value_and_grad(w: np.ndarray, rows: np.ndarray) -> jax.Array:
        return whole(w, data) if len(rows) == problem.num_examples else some(w, data, rows)

    rows: Any = range(problem.num_examples)
    loader = Batches(rows, batch_size=batch_size, drop_last=True)
    return Model(w, value_and_grad), loader, float(whole(w, data)[0])


def estimate(job: Job, method: Callable, step_size: float) -> tuple[np.ndarray, int, float]:
    """Return one estimate a chain, the gradients spent and the seconds taken."""
    model, loader, init_loss = build(job.problem, job.batch_size)
    steps = max(4, job.gradients // (job.batch_size * NUM_CHAINS))
    draws = steps // 2
    began = time.perf_counter()
    try:
        summary = estimate_learning_coeff_with_summary(
            model,
            loader,
            evaluate=evaluate,
            sampling_method=method,
            optimizer_kwargs=settings(job.problem, step_size),
            num_chains=NUM_CHAINS,
            num_draws=draws,
            num_burnin_steps=steps - draws,
            init_loss=init_loss,
            seed=job.key,
            verbose=False,
        )
        chains = np.array([summary[f"llc-chain/{i}"] for i in range(NUM_CHAINS)])
    except RuntimeError as error:
        if "NaN" not in str(error):
            raise
        chains = np.full(NUM_CHAINS, np.nan)
    return chains, steps * job.batch_size * NUM_CHAINS, time.perf_counter() - began


def settings(problem: ToyProblem, step_size: float) -> dict:
    return {"lr": step_size, "nbeta": problem.nbeta, "localization": problem.localization}


@lru_cache(maxsize=1)
def accepted_step_size(problem: ToyProblem) -> float:
    """Return the largest of the grid's learning rates that MALA accepts, by 2 chains of 100 draws each."""
    best = STEP_SIZES[0]
    for step_size in STEP_SIZES:
        model, loader, init_loss = build(problem, problem.num_examples)
        rate = MalaAcceptanceRate(num_chains=2, num_draws=100, learning_rate=step_size, nbeta=problem.nbeta)
        try:
            estimate_learning_coeff_with_summary(
                model,
                loader,
                evaluate=evaluate,
                callbacks=[rate],
                sampling_method=SGLD,
                optimizer_kwargs=settings(problem, step_size),
                num_chains=2,
                num_draws=100,
                init_loss=init_loss,
                seed=0,
                verbose=False,
            )
        except RuntimeError:
            break
        if not float(rate.mala_acceptance_rate[:, 1:].mean()) >= ACCEPTANCE:
            break
        best = step_size
    return best


def measure(job: Job) -> Iterator[dict]:
    """Yield the rows of one job."""
    accepted = accepted_step_size(job.problem)
    runs = search(job, STEP_SIZES.index(accepted))
    hindsight = min(runs, key=lambda step_size: misfit(job, runs[step_size][0]))
    for method, step_size, (chains, gradients, seconds) in (
        ("devinterp SGLD", STEP_SIZE, estimate(job, SGMCMC.sgld, STEP_SIZE)),
        ("devinterp SGLD, step by MALA acceptance", accepted, runs[accepted]),
        ("devinterp SGLD best step in hindsight", hindsight, runs[hindsight]),
        ("devinterp RMSprop-SGLD", STEP_SIZE, estimate(job, SGMCMC.rmsprop_sgld, STEP_SIZE)),
        (
            "devinterp RMSprop-SGLD, step by MALA acceptance",
            accepted / 10,
            estimate(job, SGMCMC.rmsprop_sgld, accepted / 10),
        ),
    ):
        note = f", step {step_size:.2g}"
        yield row(job, method, chains, gradients=gradients, seconds=seconds, note=note)


def search(job: Job, start: int) -> dict[float, tuple[np.ndarray, int, float]]:
    """Run the grid outwards from `start`, each way until a step does worse than the best so far."""
    runs = {STEP_SIZES[start]: estimate(job, SGMCMC.sgld, STEP_SIZES[start])}
    for way in (STEP_SIZES[start + 1 :], STEP_SIZES[:start][::-1]):
        for step_size in way:
            best = min(misfit(job, run[0]) for run in runs.values())
            runs[step_size] = estimate(job, SGMCMC.sgld, step_size)
            if misfit(job, runs[step_size][0]) >= best:
                break
    return runs


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    main(__doc__ or "", measure)
