"""How long devinterp 1.3.2 takes to an error bar of 2 %; runs in devinterp's own environment.

8 chains of SGLD, as many burn-in steps as draws: 250 draws, doubled until the chains' spread / √8 is at most
`TARGET` of the estimate, or the next run would take more than `BUDGET` times the gradients lltc spent. A row
holds the last run only, as if its length had been known: what the shorter ones and the choice of the step
size took does not count. The step sizes are 1e-3 and the largest that MALA accepts: see devinterp_worker.py.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import numpy as np
from common import NUM_CHAINS, Job, main, row
from devinterp.optim.sgmcmc import SGMCMC
from devinterp_worker import STEP_SIZE, accepted_step_size, estimate

TARGET = 0.02
BUDGET = float(os.environ.get("BUDGET", "10"))
NUM_DRAWS = 250


def measure(job: Job) -> Iterator[dict]:
    """Yield a row a step size."""
    for method, step_size in (
        ("devinterp SGLD", STEP_SIZE),
        ("devinterp SGLD, step by MALA acceptance", accepted_step_size(job.problem)),
    ):
        yield draw_until(
            job, method, lambda some, step=step_size: estimate(some, SGMCMC.sgld, step), step_size
        )


def draw_until(job: Job, method: str, run: Callable, step_size: float) -> dict:
    """Return the row of the first run whose error bar is small enough, or of the last affordable one."""
    gradients = 2 * NUM_DRAWS * NUM_CHAINS * job.batch_size
    while True:
        chains, spent, seconds = run(job._replace(gradients=gradients))
        error = np.std(chains, ddof=1) / np.sqrt(NUM_CHAINS) / abs(np.mean(chains))
        note = f", step {step_size:.2g}"
        if error <= TARGET:
            return row(job, method, chains, gradients=spent, seconds=seconds, note=note)
        gradients *= 2
        if not np.isfinite(error) or gradients > BUDGET * job.gradients:
            return row(job, method, chains, gradients=spent, seconds=seconds, note=f"{note}, not reached")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    main(__doc__ or "", measure)
