"""What leaves numbers as they are: copies, casts (the evaluator casts to the recorded type), assertions."""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from lltc.errors import InputError


def same(x: Array, *_: Any, **__: Any) -> Array:
    return x


def nothing(*_: Any, **__: Any) -> None:
    return None


def dropout(x: Array, p: float = 0.5, train: bool = False) -> Array:
    if train and p:
        raise InputError(
            "dropout is on whatever the module's mode: pass self.training to it in the module, "
            "or give it the probability 0."
        )
    return x


_COPIES = (
    "alias alias_copy clone contiguous detach_copy lift lift_fresh lift_fresh_copy resolve_conj resolve_neg "
    "to type_as _to_copy"
)
_CHECKS = (
    "_assert_async _assert_scalar _assert_tensor_metadata sym_constrain_range sym_constrain_range_for_size"
)
_DROPOUTS = "alpha_dropout dropout feature_alpha_dropout feature_dropout"

COPIES = {
    **dict.fromkeys(_COPIES.split(), same),
    **dict.fromkeys(_CHECKS.split(), nothing),
    **dict.fromkeys(_DROPOUTS.split(), dropout),
    "detach": lax.stop_gradient,
    "copy": lambda x, y, non_blocking=False: jnp.broadcast_to(y, x.shape),
    "native_dropout": lambda x, p, train: (dropout(x, p, train), jnp.ones(x.shape, bool)),
    "view_as_complex": lambda x: lax.complex(x[..., 0], x[..., 1]),
    "view_as_real": lambda x: jnp.stack([x.real, x.imag], -1),
}
