"""Reduced rank regression at points of the zero map where the local value exceeds the global one."""

import jax.numpy as jnp
import numpy as np

from lltc.toys.networks import network_loss
from lltc.toys.problems import ToyProblem
from lltc.toys.values.gibbs import gibbs_llc
from lltc.toys.values.linear_forms import reduced_rank_llc_at


def reduced_rank_point(
    inputs: int,
    hidden: int,
    outputs: int,
    *,
    first_rank: int,
    second_rank: int,
    nbeta: float = 1e5,
    localization: float = 100.0,
    num_sweeps: int = 2000,
    key: int = 0,
) -> ToyProblem:
    """Return the population loss `½‖K₁K₂‖²` at a point of the zero map with the given ranks of K₁ and K₂.

    The first `first_rank` hidden units only receive, the last `second_rank` only send, all with weight 1. The
    default localization is strong on purpose: at 1 the posterior leaves an unbalanced point for its
    neighbours of smaller λ. `llc_finite` comes from `gibbs_llc`, (λ, m) from `reduced_rank_llc_at`.

    Raises:
        InputError: ranks that do not fit, as `reduced_rank_llc_at`.

    Example:
        >>> reduced_rank_point(2, 2, 2, first_rank=2, second_rank=0).llc
        2.0
    """
    known = reduced_rank_llc_at(
        inputs=inputs,
        hidden=hidden,
        outputs=outputs,
        rank=0,
        first_rank=first_rank,
        second_rank=second_rank,
    )
    unit = np.arange(hidden)
    first = np.eye(inputs, hidden) * (unit < first_rank)
    second = np.eye(hidden, outputs)[::-1] * (unit >= hidden - second_rank)[:, None]
    x = np.sqrt(inputs) * np.eye(inputs)
    return ToyProblem(
        name=f"linear net {inputs}-{hidden}-{outputs} at ranks {first_rank}, {second_rank} of the zero map",
        model=network_loss,
        params={
            "layer1": {"kernel": jnp.asarray(first, jnp.float32)},
            "layer2": {"kernel": jnp.asarray(second, jnp.float32)},
        },
        data={"x": jnp.asarray(x, jnp.float32), "y": jnp.zeros((inputs, outputs))},
        nbeta=nbeta,
        localization=localization,
        llc=known.llc,
        multiplicity=known.multiplicity,
        reference=lambda: gibbs_llc(
            [first, second],
            input_moment=np.eye(inputs),
            cross_moment=np.zeros((inputs, outputs)),
            nbeta=nbeta,
            localization=localization,
            num_sweeps=num_sweeps,
            key=key,
        ),
    )
