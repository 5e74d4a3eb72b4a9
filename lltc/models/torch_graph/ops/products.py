"""Linear layers, matrix products, contractions and transforms."""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array, lax

_NORMS = ("backward", "ortho", "forward")


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = lax.dot_general(x, weight, (((x.ndim - 1,), (weight.ndim - 1,)), ((), ())))
    return y if bias is None else y + bias


def add_product(c: Array, a: Array, b: Array, beta: float = 1, alpha: float = 1) -> Array:
    product = jnp.matmul(a, b)
    return (c if beta == 1 else beta * c) + (product if alpha == 1 else alpha * product)


def einsum(equation: str, operands: Sequence[Array], path: Sequence[int] | None = None) -> Array:
    return jnp.einsum(equation.replace(" ", ""), *operands)


def bilinear(x: Array, y: Array, weight: Array, bias: Array | None = None) -> Array:
    z = jnp.einsum("...i,oij,...j->...o", x, weight, y)
    return z if bias is None else z + bias


def weight_norm(v: Array, g: Array, dim: int = 0) -> Array:
    return weight_norm_interface(v, g, dim)[0]


def weight_norm_interface(v: Array, g: Array, dim: int = 0) -> tuple[Array, Array]:
    # PyTorch's -1 is not the last axis but the norm of all.
    axes = [axis for axis in range(v.ndim) if axis != dim]
    norm = jnp.sqrt(jnp.sum(v * v, axes, keepdims=True))
    return v * (g / norm), norm


def fft_real(x: Array, dim: Sequence[int], normalization: int, onesided: bool) -> Array:
    transform = jnp.fft.rfftn if onesided else jnp.fft.fftn
    return transform(x, axes=tuple(dim), norm=_NORMS[normalization])


def fft_complex(x: Array, dim: Sequence[int], normalization: int, forward: bool) -> Array:
    if forward:
        return jnp.fft.fftn(x, axes=tuple(dim), norm=_NORMS[normalization])
    # PyTorch states by what the inverse divides, NumPy by what the pair does.
    return jnp.fft.ifftn(x, axes=tuple(dim), norm=_NORMS[2 - normalization])


def solve(a: Array, b: Array, left: bool = True) -> Array:
    """Solve ``a x = b``, or ``x a = b``; `b` is vectors where it has the shape of `a` but its last axis."""
    if left and b.ndim > 1 and b.shape == a.shape[:-1]:
        return jnp.linalg.solve(a, b[..., None])[..., 0]
    if left:
        return jnp.linalg.solve(a, b)
    return jnp.swapaxes(jnp.linalg.solve(jnp.swapaxes(a, -1, -2), jnp.swapaxes(b, -1, -2)), -1, -2)


def cross(x: Array, y: Array, dim: int | None = None) -> Array:
    """Without `dim`, along the first axis of three."""
    shape = jnp.broadcast_shapes(x.shape, y.shape)
    axis = shape.index(3) if dim is None else dim
    x, y = (jnp.broadcast_to(z, shape) for z in (x, y))
    return jnp.cross(x, y, axis=axis)


PRODUCTS = {
    "linear": linear,
    "bilinear": bilinear,
    "matmul": jnp.matmul,
    "mm": jnp.matmul,
    "bmm": jnp.matmul,
    "mv": jnp.matmul,
    "dot": jnp.dot,
    "vdot": jnp.vdot,
    "inner": jnp.inner,
    "outer": jnp.outer,
    "kron": jnp.kron,
    "einsum": einsum,
    "tensordot": lambda x, y, dims_x, dims_y: jnp.tensordot(x, y, (tuple(dims_x), tuple(dims_y))),
    "addmm": add_product,
    "baddbmm": add_product,
    "addmv": add_product,
    "trace": jnp.trace,
    "cross": cross,
    "linalg_cross": lambda x, y, dim=-1: cross(x, y, dim),
    "linalg_inv": jnp.linalg.inv,
    "linalg_cholesky": lambda x, upper=False: jnp.linalg.cholesky(x, upper=upper),
    "linalg_solve": solve,
    "cosine_similarity": lambda x, y, dim=1, eps=1e-8: (
        jnp.sum(x * y, dim) / (_length(x, dim, eps) * _length(y, dim, eps))
    ),
    "_weight_norm": weight_norm,
    "_weight_norm_interface": weight_norm_interface,
    "fft_fft": lambda x, n=None, dim=-1, norm=None: jnp.fft.fft(x, n, dim, norm),
    "fft_ifft": lambda x, n=None, dim=-1, norm=None: jnp.fft.ifft(x, n, dim, norm),
    "fft_rfft": lambda x, n=None, dim=-1, norm=None: jnp.fft.rfft(x, n, dim, norm),
    "fft_irfft": lambda x, n=None, dim=-1, norm=None: jnp.fft.irfft(x, n, dim, norm),
    "fft_fft2": lambda x, s=None, dim=(-2, -1), norm=None: jnp.fft.fft2(x, s, tuple(dim), norm),
    "fft_rfft2": lambda x, s=None, dim=(-2, -1), norm=None: jnp.fft.rfft2(x, s, tuple(dim), norm),
    "fft_irfft2": lambda x, s=None, dim=(-2, -1), norm=None: jnp.fft.irfft2(x, s, tuple(dim), norm),
    "_fft_r2c": fft_real,
    "_fft_c2c": fft_complex,
}


def _length(x: Array, dim: int, eps: float) -> Array:
    squares = jnp.sum(x * x, dim)
    small = squares <= eps * eps
    return jnp.where(small, eps, jnp.sqrt(jnp.where(small, 1.0, squares)))
