"""Estimates on meshes of forced host devices, as a program: `meshes.py devices process of port mesh…`."""

import json
import os
import sys
from typing import Any

import numpy as np

MODEL_PARTS = {"first": (None, "model"), "bias": ("model",), "second": ("model", None)}
FEW: dict[str, Any] = {
    "nbeta": 100.0,
    "localization": 10.0,
    "num_chains": 4,
    "num_draws": 32,
    "num_warmup": 64,
    "batch_size": 128,
    "progress": False,
}


def problem() -> tuple[dict[str, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return params and data of a tanh network with 16 hidden units, 208 parameters."""
    rng = np.random.default_rng(0)
    shapes = {"first": (8, 16), "bias": (16,), "second": (16, 4)}
    params = {name: (0.3 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
    x = rng.normal(size=(1000, 8)).astype(np.float32)
    return params, (x, np.tanh(x @ rng.normal(size=(8, 4)).astype(np.float32)))


def network(params: Any, batch: Any) -> Any:
    """Return half the squared error, `(batch,)`."""
    import jax.numpy as jnp

    outputs = jnp.tanh(batch[0] @ params["first"] + params["bias"]) @ params["second"]
    return 0.5 * jnp.sum((outputs - batch[1]) ** 2, -1)


def on_mesh(axes: dict[str, int]) -> tuple[Any, Any]:
    """Return a mesh, None for no axes, and the params divided along its axis "model"."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    params, _ = problem()
    if not axes:
        return None, params
    mesh = jax.make_mesh(tuple(axes.values()), tuple(axes))
    if "model" not in axes:
        return mesh, params
    parts = {name: NamedSharding(mesh, PartitionSpec(*spec)) for name, spec in MODEL_PARTS.items()}
    return mesh, {name: jax.device_put(leaf, parts[name]) for name, leaf in params.items()}


def estimate_on(
    axes: dict[str, int], params_on: dict[str, int] | None = None, **options: Any
) -> dict[str, Any]:
    """Return an estimate's draws and step size, or the sentence it is refused with."""
    import lltc

    mesh, params = on_mesh(axes)
    params = on_mesh(params_on)[1] if params_on else params
    try:
        found = lltc.estimate_llc(network, params, problem()[1], mesh=mesh, **FEW | options)
    except lltc.InputError as error:
        return {"refused": str(error)}
    return {"energy": found.energy.tolist(), "llc": found.llc, "step_size": found.step_size}


def shards_on(axes: dict[str, int]) -> dict[str, Any]:
    """Return what one device holds, as shapes, of the chains after two steps, of w* and of one leaf."""
    import jax.numpy as jnp

    from lltc.chains.loop import sample, start
    from lltc.chains.rungs import Ladder
    from lltc.chains.tuning import Tuned, make_settings
    from lltc.estimates.estimator import prepare_run
    from lltc.kernels import baoab
    from lltc.posterior.target import local_posterior

    mesh, params = on_mesh(axes)
    posterior = local_posterior(network, params, problem()[1], batch_size=128, mesh=mesh)
    run = prepare_run(posterior, 0, None, kernel=baoab())
    ladder = Ladder(np.array([posterior.nbeta]), FEW["num_chains"])
    tuned = Tuned(np.array([1e-6]), np.array([0.9]))
    settings = make_settings(run, ladder, ladder.spread(ladder.rungs), tuned)
    first = jnp.zeros((FEW["num_chains"], posterior.num_params))
    state = sample(run, start(run, first, settings), settings, first=1, count=2).state
    held = {"position": state.position, "velocity": state.velocity}
    held["second"] = posterior.center.leaves[-1]
    return {name: array.addressable_shards[0].data.shape for name, array in held.items()}


def main(devices: str, process: str, of: str, port: str, *meshes: str) -> None:
    """Print one JSON line a mesh."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    import jax

    if int(of) > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", int(of), int(process))
    for mesh in meshes:
        options = json.loads(mesh)
        found = estimate_on(**options)
        print(json.dumps(found if "refused" in found else found | {"shards": shards_on(options["axes"])}))


if __name__ == "__main__":
    main(*sys.argv[1:])
