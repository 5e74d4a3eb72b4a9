"""Tokens grouped by how components respond to them, and how far the groups can be trusted."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lltc.chains.streams import as_rng
from lltc.diagnostics.measured import Pairs, over_chains
from lltc.errors import InputError
from lltc.fluctuations.tokens.responses import Responses, check_same
from lltc.report import TokenPage, write_token_page
from lltc.report.wording import after_comma, measured

NONE = -1
FAR, LEAST_SIZE, LEAST_SHARE = 4.0, 5, 50
SHUFFLES = 999
LEAST_CHAINS = 4
MOST_SHOWN = 12


class ClusterMatch(NamedTuple):
    """Clusters of two readings, matched one to one by the tokens that they share.

    `pairs` are (cluster here, cluster there) and `overlap` `(pair,)` the tokens that both hold over those
    that either holds. `agreement` is the adjusted Rand index, 1 for the same groups and 0 by chance; `chance`
    is the share of shuffles of one reading's labels that agree as well, of 999 and itself.
    """

    pairs: tuple[tuple[int, int], ...]
    overlap: np.ndarray
    agreement: float
    chance: float


@dataclass(frozen=True, eq=False, repr=False)
class Clusters:
    """Groups of tokens: `labels` `(token,)`, -1 for those in none, the largest cluster first.

    `stability` `(cluster,)` is the mean overlap with the most similar cluster of either half of the chains,
    1 where both find the same tokens. `response` `(cluster, component)` is the mean of -Cov[φ_C, ℓ_t] over a
    cluster's tokens.
    """

    responses: Responses
    labels: np.ndarray
    stability: np.ndarray
    response: Pairs

    @property
    def sizes(self) -> np.ndarray:
        """How many tokens each cluster holds, `(cluster,)`."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.stability))

    def __repr__(self) -> str:
        left = int(np.sum(self.labels < 0))
        head = f"Clusters({len(self.stability)} of {len(self.labels):,} tokens, {left:,} in none"
        rows = [f"{head}{after_comma(self.responses.caveat)})"]
        for cluster, size in enumerate(self.sizes[:MOST_SHOWN]):
            parts = ", ".join(f"{name} {measured(*pair)}" for name, pair in self.strongest(cluster))
            rows.append(f"  {cluster}  {size:,} tokens, stability {self.stability[cluster]:.2f}  {parts}")
        return "\n".join(rows)

    def strongest(self, cluster: int, count: int = 3) -> list[tuple[str, tuple[float, float]]]:
        """Return the components that respond most to a cluster, with their mean response and its error."""
        value, se = self.response.value[cluster], self.response.se[cluster]
        order = np.argsort(-np.abs(value))[:count]
        return [(self.responses.components[at], (float(value[at]), float(se[at]))) for at in order]

    def match(self, other: "Clusters", *, key: int = 0) -> ClusterMatch:
        """Match these clusters with those of another reading of the same tokens, by another key or run.

        Source: Hubert & Arabie (1985), Comparing partitions, for the adjusted Rand index.
        """
        check_same(self.responses, other.responses)
        adjusted = _sklearn("metrics").adjusted_rand_score
        pairs, overlap = match_labels(self.labels, other.labels)
        agreement = float(adjusted(self.labels, other.labels))
        rng = as_rng(key)
        shuffled = [adjusted(self.labels, rng.permutation(other.labels)) for _ in range(SHUFFLES)]
        chance = (1 + sum(value >= agreement for value in shuffled)) / (1 + SHUFFLES)
        return ClusterMatch(pairs, overlap, agreement, chance)

    def write_page(
        self,
        path: str | Path,
        texts: Sequence[Sequence[str]] | None = None,
        *,
        title: str = "Tokens by response",
    ) -> Path:
        """Write a page that shows each cluster's tokens in their context, to look at, filter and search.

        `texts` `(example, position)` are the tokens as text, by example of the data; default their positions.
        """
        record = self.responses.record
        clusters = [
            (int(size), float(self.stability[at]), [(n, measured(*pair)) for n, pair in self.strongest(at)])
            for at, size in enumerate(self.sizes)
        ]
        chi = self.responses.chi
        order = np.argsort(-np.abs(chi.value / np.where(chi.se > 0, chi.se, np.inf)), 0)[:3]
        notes = [
            [(self.responses.components[c], measured(chi.value[c, t], chi.se[c, t])) for c in order[:, t]]
            for t in range(len(self.labels))
        ]
        page = TokenPage(
            title=title,
            example=record.tokens.example,
            position=record.tokens.position,
            loss=record.tokens.loss,
            label=self.labels,
            clusters=clusters,
            notes=notes,
            texts=texts,
            caveat=self.responses.caveat,
        )
        return write_token_page(path, page)


def find_clusters(responses: Responses, min_size: int | None) -> Clusters:
    """See `TokenSusceptibilities.cluster`."""
    chains = responses.record.num_chains
    if chains < LEAST_CHAINS:
        raise InputError(
            f"clusters need at least {LEAST_CHAINS} chains, as stability is that of each half by itself, but "
            f"{chains} were read; read again with num_chains={LEAST_CHAINS} or more."
        )
    own = over_chains(responses.own)
    responding = np.flatnonzero((np.abs(own.value) > FAR * own.se).any(0))
    size = max(LEAST_SIZE, len(responding) // LEAST_SHARE) if min_size is None else min_size
    if not isinstance(size, int | np.integer) or size < 2:
        raise InputError(f"min_size must be an integer ≥ 2, but {min_size!r} was given; pass such as 20.")
    labels = np.full(len(responses.record.tokens.example), NONE)
    labels[responding] = _group(responses.own[..., responding], size)
    labels = _by_size(labels)
    count = labels.max() + 1
    overlaps = []
    for half in (slice(0, None, 2), slice(1, None, 2)):
        again = np.full_like(labels, NONE)
        again[responding] = _group(responses.own[half][..., responding], size)
        overlaps.append(_overlaps(labels, again).max(1, initial=0.0))
    held = [responses.own[..., labels == cluster].mean(-1) for cluster in range(count)]
    shape = (0, len(responses.components))
    response = over_chains(np.stack(held, 1)) if held else Pairs(np.zeros(shape), np.zeros(shape))
    return Clusters(responses, labels, np.mean(overlaps, 0), response)


def match_labels(one: np.ndarray, other: np.ndarray) -> tuple[tuple[tuple[int, int], ...], np.ndarray]:
    """Match clusters one to one so that their overlaps sum to most; those without any are left out.

    Example:
        >>> match_labels(np.array([0, 0, 1, 1, -1]), np.array([1, 1, 0, -1, -1]))
        (((0, 1), (1, 0)), array([1. , 0.5]))
    """
    from scipy.optimize import linear_sum_assignment

    overlaps = _overlaps(one, other)
    rows, columns = linear_sum_assignment(-overlaps)
    chosen = [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if overlaps[r, c] > 0]
    return tuple(chosen), np.array([overlaps[pair] for pair in chosen])


def _group(terms: np.ndarray, size: int) -> np.ndarray:
    """Return HDBSCAN's labels of tokens by the direction of their response, from terms by chain.

    Groups that lie no farther apart than the usual error of a direction are one.
    """
    response, se = over_chains(terms)
    if response.shape[1] < 2 * size:
        return np.full(response.shape[1], NONE)
    scale = np.maximum(np.sqrt(np.mean(response**2, 1, keepdims=True)), np.finfo(float).tiny)
    profile = response / scale
    length = np.maximum(np.linalg.norm(profile, axis=0), np.finfo(float).tiny)
    error = float(np.median(np.linalg.norm(se / scale, axis=0) / length))
    unit = (profile / length).T
    fit = _sklearn("cluster").HDBSCAN(min_cluster_size=int(size), copy=True).fit(unit)
    return _merged(unit, fit.labels_, error)


def _merged(points: np.ndarray, labels: np.ndarray, reach: float) -> np.ndarray:
    """Return labels of points `(point, axis)` in which groups with members within `reach` are one."""
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    count = labels.max(initial=NONE) + 1
    inside = labels >= 0
    near = np.zeros((count, count), bool)
    for group in range(count):
        tree = KDTree(points[labels == group])
        distance, _ = tree.query(points[inside], distance_upper_bound=reach)
        near[group, labels[inside][np.isfinite(distance)]] = True
    joined = connected_components(near, directed=False)[1] if count else np.zeros(0, int)
    return np.where(inside, np.append(joined, NONE)[labels], NONE)


def _by_size(labels: np.ndarray) -> np.ndarray:
    """Return the labels numbered anew, the largest cluster first."""
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    renamed = np.full_like(labels, NONE)
    for place, name in enumerate(names[np.argsort(-counts, kind="stable")]):
        renamed[labels == name] = place
    return renamed


def _overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the tokens in both of two clusters over those in either `(cluster, cluster)`."""
    here = one == np.arange(one.max(initial=NONE) + 1)[:, None]
    there = other == np.arange(other.max(initial=NONE) + 1)[:, None]
    both = here.astype(float) @ there.T
    return both / np.maximum(here.sum(1)[:, None] + there.sum(1) - both, 1)


def _sklearn(name: str) -> Any:
    try:
        return importlib.import_module(f"sklearn.{name}")
    except ImportError:
        raise InputError(
            "clusters need scikit-learn; install it with `pip install 'lltc[clusters]'`."
        ) from None
