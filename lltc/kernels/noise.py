"""Standard normal numbers by counter, cheap enough to be drawn at every step for every parameter."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

ROUNDS = 13
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
# The least-squares odd polynomial that makes a sum of four uniform numbers normal, scaled to unit variance.
STRAIGHTENING = (1.6700587, 0.009188004, 0.15357394, -0.1810077, 0.10494259, -0.027984496, 0.0029344071)


def normal(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
    """Return standard normal numbers `(chain, d)`, each a function of the key and its own two indices.

    The two words of Threefry-2×32 at the counter (coordinate, chain), with 13 rounds, the fewest that pass
    BigCrush, are four uniform numbers of 16 bits; their centred sum y becomes normal by an odd polynomial of
    degree 13. The distribution function is right to 2.5·10⁻⁵, the moments up to the eighth to 0.04 %, none is
    beyond 5.62. Without logarithm or root, and fused with what uses the numbers, it takes a fraction of the
    time of `jax.random.normal` on a CPU (benchmarks/results/profile.md). A chain's numbers depend neither on
    how many chains there are nor on which device holds them.

    Source: Salmon, Moraes, Dror & Shaw (2011, Parallel random numbers: as easy as 1, 2, 3), section 4 and
    table 2; Teichroew's method, in Knuth (The Art of Computer Programming 2, section 3.4.1 C).

    Example:
        >>> few, more = normal(jax.random.key(0), (2, 3)), normal(jax.random.key(0), (4, 5))
        >>> bool(jnp.allclose(few, more[:2, :3], atol=1e-6))
        True
    """
    words = jax.random.key_data(key).reshape(-1)
    coordinate = jax.lax.broadcasted_iota(jnp.uint32, shape, 1)
    chain = jax.lax.broadcasted_iota(jnp.uint32, shape, 0)
    first, second = threefry(words[0], words[1], coordinate, chain)
    return straighten(sum_of_halves(first) + sum_of_halves(second)).astype(dtype)


def sum_of_halves(word: jax.Array) -> jax.Array:
    """Return the sum of the lower and the upper 16 bits."""
    return (word & 0xFFFF) + (word >> 16)


def straighten(total: jax.Array) -> jax.Array:
    """Return the normal number of a sum of four uniform integers below 2¹⁶."""
    centred = (total.astype(jnp.int32) - 2 * 0xFFFF).astype(jnp.float32) * 2.0**-16
    square = centred * centred
    slope = jnp.float32(STRAIGHTENING[-1])
    for coefficient in STRAIGHTENING[-2::-1]:
        slope = slope * square + coefficient
    return slope * centred


def threefry(
    first: jax.Array, second: jax.Array, low: jax.Array, high: jax.Array, *, rounds: int = ROUNDS
) -> tuple[jax.Array, jax.Array]:
    """Return the two words Threefry-2×32 makes of the counter (`low`, `high`) under the key (first, second).

    Example:
        >>> zero = jnp.uint32(0)
        >>> [hex(word) for word in threefry(zero, zero, zero, zero, rounds=20)]
        ['0x6b200159', '0x99ba4efe']
    """
    keys = (first, second, first ^ second ^ jnp.uint32(PARITY))
    low, high = low + keys[0], high + keys[1]
    for number in range(rounds):
        turn = ROTATIONS[number // 4 % 2][number % 4]
        low = low + high
        high = ((high << turn) | (high >> (32 - turn))) ^ low
        if number % 4 == 3:
            group = number // 4 + 1
            low = low + keys[group % 3]
            high = high + keys[(group + 1) % 3] + jnp.uint32(group)
    return low, high
