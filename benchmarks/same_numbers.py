"""Twenty estimates to the last bit, to set two commits side by side.

`python benchmarks/same_numbers.py > table`: a line is a case, λ̂ and its error in hexadecimal, and a digest
of all draws. Numbers are the same on one machine only; a change of code that is not meant to change them
leaves the table as it was.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import lltc

FEW: dict[str, Any] = {"num_draws": 300, "num_warmup": 200, "num_chains": 4, "progress": False}
SMALL: dict[str, Any] = FEW | {"batch_size": 64}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(4000, 6)).astype(np.float32)
WEIGHTS = {
    "in": RNG.normal(size=(6, 4)).astype(np.float32),
    "out": RNG.normal(size=4).astype(np.float32),
}
Y = (np.tanh(X @ WEIGHTS["in"]) @ WEIGHTS["out"] + RNG.normal(size=4000)).astype(np.float32)


def outputs(params: Any, x: Any) -> Any:
    """Return the outputs of a small tanh network."""
    return jnp.tanh(x @ params["in"]) @ params["out"]


def model(params: Any, batch: Any) -> Any:
    """Return half the squared errors."""
    return 0.5 * (outputs(params, batch[0]) - batch[1]) ** 2


def means(params: Any, batch: Any) -> Any:
    """Return the mean of the losses."""
    return model(params, batch).mean()


def quartic(params: Any, batch: Any) -> Any:
    """Return x⁴ + y⁴ for every example."""
    return jnp.sum(params**4) * jnp.ones(len(batch))


def estimate(loss: Any = model, data: Any = (X, Y), params: Any = WEIGHTS, **options: Any) -> Any:
    """Return an estimate with few draws."""
    return lltc.estimate_llc(loss, params, data, **(SMALL | options))


def mapped() -> np.memmap:
    """Return the examples as a memory map."""
    rows = np.column_stack([X, Y])
    file = np.memmap(tempfile.mkstemp()[1], np.float32, "w+", shape=rows.shape)
    file[:] = rows
    return file


def cases() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the name of each estimate and a function that makes it."""
    behavioral = lltc.behavioral(lambda w, batch: outputs(w, batch[0]), "squared", loss=model)
    exact = {"nbeta": 1e3, "localization": 1.0}
    yield "minibatches", estimate
    yield "another key", lambda: estimate(key=7)
    yield "full batch, corrected", lambda: lltc.estimate_llc(model, WEIGHTS, (X[:200], Y[:200]), **FEW)
    yield "full batch, uncorrected", lambda: estimate(kernel=lltc.kernels.baoab(), batch_size=4000)
    yield "default draws", lambda: estimate(num_draws=None, target_rel_se=0.05)
    yield "exact path", lambda: estimate(quartic, np.zeros((8, 1), np.float32), jnp.zeros(2), **exact)
    yield "behavioral", lambda: estimate(behavioral)
    yield "no slope", lambda: estimate(linear=False)
    yield "means", lambda: estimate(means)
    yield "step size given", lambda: estimate(step_size=1e-4)
    yield "sgnht", lambda: estimate(kernel=lltc.kernels.sgnht())
    yield "rmsprop", lambda: estimate(kernel=lltc.kernels.rmsprop(), step_size=1e-4)
    yield "leimkuhler_matthews", lambda: estimate(kernel=lltc.kernels.leimkuhler_matthews())
    yield "preconditioned", lambda: estimate(preconditioner=optax.scale_by_rms(0.99))
    yield "part of the data at w*", lambda: estimate(anchor_examples=1000)
    yield "restricted", lambda: estimate(restrict="in[:, 0]")
    yield "one chain at a time", lambda: estimate(chain_batch=1)
    yield "data on the host", lambda: estimate(lambda w, rows: model(w, (rows[:, :6], rows[:, 6])), mapped())
    yield "observables", lambda: estimate(observables={"norm": lambda w: jnp.sum(w["in"] ** 2)})
    yield (
        "ladder",
        lambda: lltc.estimate_llc_ladder(model, WEIGHTS, (X, Y), nbeta=[100, 400], **SMALL).estimates[1],
    )


def digest(estimate: Any) -> str:
    """Return a digest of everything that was recorded."""
    arrays = [
        estimate.draws,
        estimate.energy,
        estimate.distance,
        estimate.virial,
        *estimate.observables.values(),
    ]
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()[
        :16
    ]


if __name__ == "__main__":
    for name, make in cases():
        made = make()
        print(
            f"{name:<24} {float(made.llc).hex():>24} {float(made.llc_se).hex():>24} {digest(made)}",
            flush=True,
        )
