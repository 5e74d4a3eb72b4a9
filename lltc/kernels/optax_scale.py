"""A frozen diagonal preconditioner out of an Optax transformation's second moments."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lltc.errors import InputError


def scale_from_optax(
    transformation: Any, gradients: jax.Array | np.ndarray, *, epsilon: float = 0.01
) -> jax.Array:
    """Return the `Tuning.scale` `(d,)` that an Optax transformation's ν implies after `gradients` `(k, d)`.

    scale = (√ν + epsilon·mean √ν)^(-1/2), divided by its geometric mean, so that ε keeps its meaning; ν is
    what `optax.scale_by_rms`, `optax.scale_by_adam` and chains of them keep. The gradients are fed in their
    order, once, before drawing: a frozen scale leaves the density as it was, unlike one that goes on
    adapting. On draws of a Gaussian posterior √ν = √q, and the spread of the curvatures q shrinks to its
    square root.

    Raises:
        InputError: `gradients` not a finite `(k, d)` array with one non-zero entry, `epsilon` not positive,
            or a transformation that keeps no ν.

    Example:
        >>> import optax
        >>> gradients = jnp.array([[1.0, 4.0], [-1.0, -4.0]])
        >>> [round(float(s), 3) for s in scale_from_optax(optax.scale_by_rms(), gradients, epsilon=1e-6)]
        [1.414, 0.707]
    """
    gradients = jnp.asarray(gradients, jnp.float32)
    usable = gradients.ndim == 2 and gradients.size > 0 and bool(jnp.isfinite(gradients).all())
    if not usable or not bool(jnp.any(gradients != 0)):
        raise InputError(
            f"gradients must be finite, of shape (k, d) and not all zero, but an array of shape "
            f"{gradients.shape} without that was given; record some at a few draws of a warm-up."
        )
    if not epsilon > 0:
        raise InputError(f"epsilon must be a number > 0, but {epsilon!r} was given; pass such as 0.01.")
    state = transformation.init(jnp.zeros_like(gradients[0]))
    state, _ = jax.lax.scan(lambda s, g: (transformation.update(g, s)[1], None), state, gradients)
    return scale_of(state, epsilon=epsilon)


def scale_of(state: Any, *, epsilon: float = 0.01) -> jax.Array:
    """Return the `Tuning.scale` `(d,)` out of an Optax state that keeps one second moment ν.

    Raises `InputError` where it keeps none, or several.
    """
    import optax

    moments = optax.tree_utils.tree_get_all_with_path(state, "nu")
    if len(moments) != 1:
        raise InputError(
            "preconditioner, an Optax transformation, must keep one second moment ν in its state, but it "
            f"keeps {len(moments)}; pass optax.scale_by_rms(0.99) or optax.scale_by_adam()."
        )
    size = jnp.sqrt(moments[0][1])
    scale = (jnp.where(size.mean() > 0, size, 1.0) + epsilon * size.mean()) ** -0.5
    return scale / jnp.exp(jnp.log(scale).mean())
