"""Covariances of tokens' losses: susceptibilities, the loss kernel and its sketch, influence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lltc.chains.streams import as_rng
from lltc.diagnostics.measured import Pairs, over_chains
from lltc.errors import InputError
from lltc.fluctuations.tokens.kept import KeptLosses
from lltc.fluctuations.tokens.moments import Contrast, Each, contrast, covariance_terms, covariances
from lltc.fluctuations.tokens.susceptibilities import TokenSusceptibilities
from lltc.posterior.arrays import as_indices
from lltc.posterior.checks import check_flag

MOST_AT_ONCE = 1 << 27


@dataclass(frozen=True, eq=False, repr=False)
class KernelSketch:
    """The loss kernel as F F', `features` F `(token, width)`: unbiased, with an error of its own."""

    features: np.ndarray

    def __repr__(self) -> str:
        return f"KernelSketch({self.features.shape[0]:,} tokens, width {self.features.shape[1]})"

    def entries(self, rows: Sequence[int], columns: Sequence[int]) -> Pairs:
        """Return K of tokens `rows` with `columns` `(row, column)` and the error of the projection.

        Var = (K_ss K_tt + K_st²)/width, at most; the error of Monte Carlo comes on top of it.
        """
        count = len(self.features)
        pairs = (("rows", rows), ("columns", columns))
        left, right = (self.features[as_indices(name, which, count, "tokens")] for name, which in pairs)
        value = left @ right.T
        scale = np.outer(np.sum(left**2, 1), np.sum(right**2, 1))
        return Pairs(value, np.sqrt((scale + value**2) / self.features.shape[1]))


def find_susceptibilities(record: KeptLosses, *, alone: bool) -> TokenSusceptibilities:
    """See `LossRecord.susceptibilities`."""
    check_flag("alone", alone)
    if not record.components:
        raise InputError("no components were read, but each row of χ is one's; pass components to lltc.read.")
    terms = {}

    def chi(kind: str) -> Pairs:
        terms[kind] = -_stacked(record, kind, alone, _single, covariance_terms)
        return over_chains(terms[kind])

    def correlation(kind: str) -> Pairs:
        correlate = lambda draws: covariances(draws, correlation=True)
        value, se = _stacked(record, kind, alone, _single, correlate)
        return Pairs(-value, se)

    both = contrast(record, chi), contrast(record, correlation)
    with_mean = _stacked(record, "posterior", alone, _mean, covariance_terms)
    return TokenSusceptibilities(record, *both, terms["posterior"], with_mean[..., 0])


def _stacked(
    record: KeptLosses, kind: str, alone: bool, draws: Callable[..., Each], function: Callable[[Each], Any]
) -> Any:
    """Return `function` of `draws` of all components; `alone`, of one component after the other."""
    means = record.means(kind)
    if not alone:
        return function(draws(record, kind, means, None))
    parts = [function(draws(record, kind, means, component)) for component in record.components]
    if isinstance(parts[0], Pairs):
        return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return np.concatenate(parts, 1)


def _single(record: KeptLosses, kind: str, means: np.ndarray, component: str | None) -> Each:
    """Yield φ of all components, or of one, and ℓ - L_n with all moved, or that one alone."""
    phi, loss = _means(record, means, component)
    for number, losses in enumerate(record.losses(kind, component)):
        yield phi[number].T, losses - loss[number][:, None]


def _mean(record: KeptLosses, kind: str, means: np.ndarray, component: str | None) -> Each:
    """Yield the same φ, and L_n as if it were one token."""
    del kind
    for phi, loss in zip(*_means(record, means, component), strict=True):
        yield phi.T, loss[:, None]


def _means(record: KeptLosses, means: np.ndarray, component: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return φ `(draw, chain, component)` and L_n `(draw, chain)`."""
    if component is None:
        return record.nbeta * means[..., 1:], means[..., 0]
    at = 1 + record.components.index(component)
    return record.nbeta * means[..., at : at + 1], means[..., at]


def find_loss_kernel(record: KeptLosses, rows: Sequence[int], *, correlation: bool) -> Contrast:
    """See `LossRecord.loss_kernel`."""
    chosen = _tokens(record, "rows", rows)
    return _by_blocks(record, [np.array([row]) for row in chosen], correlation)


def find_influence(
    record: KeptLosses, queries: Mapping[str, Sequence[int]] | Sequence[int], *, correlation: bool
) -> Contrast:
    """See `LossRecord.influence`."""
    if isinstance(queries, Mapping):
        if not queries:
            raise InputError(
                "queries must name at least one set of tokens, but {} was given; pass such as {'a': [0, 1]}."
            )
        sets = [_tokens(record, f"queries[{name!r}]", which) for name, which in queries.items()]
    else:
        sets = [np.array([token]) for token in _tokens(record, "queries", queries)]
    kernel = _by_blocks(record, sets, correlation)
    return Contrast(-kernel.value, kernel.se, -kernel.control, kernel.control_se)


def _by_blocks(record: KeptLosses, sets: Sequence[np.ndarray], correlation: bool) -> Contrast:
    """Return covariances of the mean losses of sets of tokens with all tokens, so many sets at a time."""
    check_flag("correlation", correlation)
    width = max(MOST_AT_ONCE // (8 * record.num_chains * record.num_tokens), 1)
    blocks = [sets[low : low + width] for low in range(0, len(sets), width)]

    def of(kind: str, block: Sequence[np.ndarray]) -> Pairs:
        draws = (
            (np.stack([each[:, tokens].mean(1) for tokens in block]), each) for each in record.losses(kind)
        )
        return covariances(draws, correlation=correlation)

    parts = [contrast(record, lambda kind, block=block: of(kind, block)) for block in blocks]
    return Contrast(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def sketch_kernel(record: KeptLosses, width: int, key: int) -> KernelSketch:
    """See `LossRecord.sketch_kernel`."""
    if not isinstance(width, int | np.integer) or width < 1:
        raise InputError(f"width must be an integer ≥ 1, but {width!r} was given; pass such as 256.")
    record.check()
    rng = as_rng(key)
    total, signs_total, mean, count = 0.0, 0.0, 0.0, 0
    for losses in record.losses():
        signs = rng.choice([-1.0, 1.0], (len(losses), width))
        total, signs_total = total + losses.T @ signs, signs_total + signs.sum(0)
        mean, count = mean + losses.sum(0), count + len(losses)
    centered = total - np.outer(np.asarray(mean) / count, signs_total)
    return KernelSketch(centered / np.sqrt((count - 1) * width))


def _tokens(record: KeptLosses, name: str, which: Sequence[int]) -> np.ndarray:
    """Return indices of tokens, or refuse them."""
    return as_indices(name, which, record.num_tokens, "record.tokens")
