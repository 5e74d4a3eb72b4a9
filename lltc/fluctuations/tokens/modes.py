"""The spectrum of a checkpoint: its lines, patterns of components that respond to patterns of tokens."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from lltc.diagnostics.measured import Pairs, over_chains
from lltc.errors import InputError
from lltc.fluctuations.tokens.responses import Responses, check_same
from lltc.report.wording import after_comma, measured

MOST_PATTERNS = 64
LEAST_CHAINS = 8
MOST_SHOWN = 8
FAR = 2.0


@dataclass(frozen=True, eq=False, repr=False)
class Lines:
    """The lines of a response, strongest first: χ √w = Σ_k s_k u_k v_k'.

    `strength` `(line,)` are s_k with errors by chains, `components` `(component, line)` u_k and `tokens`
    `(token, line)` v_k. Lines up to `noise`, the largest that the errors of χ alone give, are none: `count`
    lie above. `caveat` is the status of the chains where it is not ok.
    """

    names: tuple[str, ...]
    strength: Pairs
    components: np.ndarray
    tokens: np.ndarray
    noise: float
    caveat: str = ""

    @property
    def count(self) -> int:
        """How many lines stand above the noise."""
        return int(np.sum(self.strength.value > self.noise))

    def __repr__(self) -> str:
        head = f"Lines({self.count} of {len(self.strength.value)} above the noise, {self.noise:.3g}"
        rows = []
        for line in range(min(self.count, MOST_SHOWN)):
            told = measured(self.strength.value[line], self.strength.se[line])
            rows.append(f"  {told}  {name_line(self.names, self.components[:, line])}")
        return "\n".join([f"{head}{after_comma(self.caveat)})", *rows])


@dataclass(frozen=True, eq=False, repr=False)
class SpectraChange:
    """The lines of the difference between two spectra, strongest first, and each one's strength at both.

    `lines` are those of after - before; `before` and `after` `(line,)` are the strengths. `is_new` marks
    lines above the noise that were less than half as strong before as after, by more than two errors, and
    `is_gone` the reverse.
    """

    lines: Lines
    before: Pairs
    after: Pairs

    @property
    def is_new(self) -> np.ndarray:
        """Which lines are new, `(line,)`."""
        return self._told(self.before, self.after)

    @property
    def is_gone(self) -> np.ndarray:
        """Which lines are gone, `(line,)`."""
        return self._told(self.after, self.before)

    def __repr__(self) -> str:
        new, gone = self.is_new, self.is_gone
        head = f"SpectraChange({self.lines.count} lines changed: {new.sum()} new, {gone.sum()} gone"
        rows = [f"{head}{after_comma(self.lines.caveat)})"]
        for line in range(min(self.lines.count, MOST_SHOWN)):
            word = "new" if new[line] else "gone" if gone[line] else "other"
            steps = [measured(pairs.value[line], pairs.se[line]) for pairs in (self.before, self.after)]
            name = name_line(self.lines.names, self.lines.components[:, line])
            rows.append(f"  {word.ljust(5)}  {steps[0]} → {steps[1]}  {name}")
        return "\n".join(rows)

    def _told(self, less: Pairs, more: Pairs) -> np.ndarray:
        excess = 0.5 * np.abs(more.value) - np.abs(less.value)
        clear = excess > FAR * np.hypot(less.se, 0.5 * more.se)
        return clear & (self.lines.strength.value > self.lines.noise)


def find_lines(responses: Responses) -> Lines:
    """Return the lines of a response and the noise below which none can be told."""
    scaled = responses.terms * responses.root_weight
    left, values, right = np.linalg.svd(scaled.mean(0), full_matrices=False)
    strength = _amplitudes(scaled, left, right.T)
    noise = find_noise(scaled)
    return Lines(responses.components, Pairs(values, strength.se), left, right.T, noise, responses.caveat)


def spectra(before: Responses, after: Responses) -> SpectraChange:
    """Tell which lines of a spectrum are new at a transition, and which are gone.

    (χ_after - χ_before) √w = Σ_k s_k u_k v_k', and u_k' χ √w v_k is the strength of a line at either, a
    linear number with an error by chains. What has stayed the same is in no line.

    Args:
        before: the susceptibilities at the earlier checkpoint, `record.susceptibilities()`.
        after: those at the later one, of the same components and tokens.

    Returns:
        A `SpectraChange`.

    Raises:
        InputError: other components or tokens, nβ or γ; fewer than 8 chains.
    """
    check_same(before, after)
    one, other = (responses.terms * responses.root_weight for responses in (before, after))
    left, values, right = np.linalg.svd(other.mean(0) - one.mean(0), full_matrices=False)
    was, became = _amplitudes(one, left, right.T), _amplitudes(other, left, right.T)
    strength = Pairs(values, np.hypot(was.se, became.se))
    noise = float(np.hypot(find_noise(one), find_noise(other)))
    caveats = before.caveat, after.caveat
    caveat = " → ".join(name or "ok" for name in caveats) if any(caveats) else ""
    return SpectraChange(Lines(after.components, strength, left, right.T, noise, caveat), was, became)


def find_noise(terms: np.ndarray) -> float:
    """Return the largest singular value that the errors of the mean of `terms` alone give.

    Chains are added with as many signs minus as plus, which leaves their errors and nothing else. Where there
    is nothing but errors, at most one mean in twenty is larger.

    Raises `InputError` for too few chains to tell.
    """
    if len(terms) < LEAST_CHAINS:
        raise InputError(
            f"lines are told from errors by at least {LEAST_CHAINS} chains, but {len(terms)} were read; read "
            f"again with num_chains={LEAST_CHAINS} or more."
        )
    return float(max(np.linalg.norm(pattern, 2) for pattern in _noise(terms)))


def name_line(names: tuple[str, ...], pattern: np.ndarray) -> str:
    """Return the components that make up most of a line, the largest first, with their shares."""
    shares = pattern**2
    order = [place for place in np.argsort(-shares)[:3] if shares[place] > 0.1]
    return ", ".join(f"{names[place]} {100 * shares[place]:.0f} %" for place in order)


def _noise(terms: np.ndarray) -> Iterator[np.ndarray]:
    """Yield matrices that hold the errors of the mean of `terms` alone: as many chains minus as plus.

    They are divided by one chain less than there are: else the mean of noise in eight chains lies beyond all
    patterns more often than once in twenty.
    """
    count = len(terms)
    for minus in _halves(count):
        signs = np.ones(count)
        signs[list(minus)] = -1
        yield np.tensordot(signs - signs.mean(), terms, 1) / (count - 1)


def _halves(count: int) -> Iterable[tuple[int, ...]]:
    """Return halves of so many chains, the first in none: all of them, or 64 at random.

    The first in order would be near copies of each other.
    """
    if comb(count - 1, count // 2) <= MOST_PATTERNS:
        return combinations(range(1, count), count // 2)
    rng = np.random.default_rng(0)
    return [tuple(1 + rng.permutation(count - 1)[: count // 2]) for _ in range(MOST_PATTERNS)]


def _amplitudes(scaled: np.ndarray, left: np.ndarray, right: np.ndarray) -> Pairs:
    """Return u_k' χ √w v_k `(line,)` from terms by chain."""
    return over_chains(np.einsum("kct,cl,tl->kl", scaled, left, right, optimize=True))
