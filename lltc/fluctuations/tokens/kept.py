"""What one reading kept, as it stands in the store: checked when opened, and read a draw at a time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from lltc.diagnostics.status import Status
from lltc.errors import InputError, printable
from lltc.estimates.estimator import LEAST_READINGS
from lltc.estimates.record import LLCEstimate
from lltc.fluctuations.tokens.reader import Tokens
from lltc.fluctuations.tokens.store import (
    FILE,
    KINDS,
    MOST_TEXT,
    Extent,
    check_arrays,
    opened,
    plan_arrays,
    refused,
)
from lltc.report.wording import measured

ESTIMATE = "estimate.nc"
MOST_COMPONENTS = 10_000
CLOSE = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class KeptLosses:
    """The losses of every token at every kept draw, in the store `path`.

    `tokens` says of each token whose it is, where, what it weighs in L_n and its loss at w*. `estimate` is
    the λ̂ of the same chains. `counts` are the draws of the posterior and of the prior alone, each of
    `num_chains` chains. Losses are read from the file a draw at a time. `seconds` were spent on drawing after
    the warm-up, and on reading. Losses are `relative` where the model is behavioral, those of examples
    `averaged` where they are means over tokens. Chains move in the whole loss where `linear`, else without
    its slope at w*.
    """

    path: Path
    components: tuple[str, ...]
    tokens: Tokens
    size: int
    num_chains: int
    counts: tuple[int, int]
    estimate: LLCEstimate
    seconds: tuple[float, float]
    relative: bool
    linear: bool
    averaged: bool

    @property
    def num_tokens(self) -> int:
        """How many tokens are kept."""
        return len(self.tokens.example)

    @property
    def nbeta(self) -> float:
        """The nβ of the chains."""
        return self.estimate.nbeta

    @classmethod
    def load(cls, store: str | Path) -> Self:
        """Return the record of a store, which may come from anyone: its shapes and links are checked first.

        Raises `InputError` for what is no finished reading, or damaged, or points outside itself.
        """
        path = Path(store) / FILE
        with opened(path) as file:
            header, extent = _header(path, file)
            check_arrays(path, file, plan_arrays(extent, header["dtype"]))
            count = file["count"][...]
            tokens = Tokens(*(file[f"token/{name}"][...] for name in Tokens._fields))
            _check(path, extent, header["size"], count, tokens)
            seconds = [file[f"seconds/{kind}"][:n].sum(0) for kind, n in zip(KINDS, count, strict=True)]
        return cls(
            path=path,
            components=tuple(printable(name, 200) for name in header["components"]),
            tokens=tokens,
            size=header["size"],
            num_chains=extent.chains,
            counts=(int(count[0]), int(count[1])),
            estimate=_load_estimate(path),
            seconds=(float(seconds[0][0]), float(seconds[0][1] + seconds[1][1])),
            relative=header.get("relative") is True,
            # Stores of old do not say, but tokens that weigh less than an example are several.
            linear=header.get("linear") is not False,
            averaged=header.get("averaged") is True or bool(tokens.weight.min() * header["size"] < 1 - CLOSE),
        )

    def __repr__(self) -> str:
        drawing, reading = self.estimate.seconds, self.seconds[1]
        examples = len(np.unique(self.tokens.example))
        return (
            f"{type(self).__name__}({self.num_tokens:,} tokens of {examples:,} examples, "
            f"{len(self.components)} components, {self.counts[0]} draws and {self.counts[1]} of the prior × "
            f"{self.num_chains} chains, {self.path.stat().st_size / 1e6:.3g} MB)\n"
            f"  llc {measured(self.estimate.llc, self.estimate.llc_se)}, {self.estimate.status.name}, "
            f"nβ {self.nbeta:.4g}, γ {self.estimate.localization:.3g}\n"
            f"  cost {drawing:.3g} s for the estimate and {reading:.3g} s for the reading, "
            f"{reading / max(drawing, 1e-9):.2g} times as much"
        )

    def losses(self, kind: str = "posterior", component: str | None = None) -> Iterator[np.ndarray]:
        """Yield ℓ_t(w) - ℓ_t(w*) `(chain, token)` of each draw, with all or only one component moved."""
        at = self._place(component)
        with opened(self.path) as file:
            for number in range(self._count(kind)):
                yield np.asarray(file[f"losses/{kind}"][number, :, at], np.float64)

    def means(self, kind: str = "posterior") -> np.ndarray:
        """Return L_n(w) - L_n(w*) `(draw, chain, 1 + component)`: all moved, then each component alone."""
        with opened(self.path) as file:
            return file[f"means/{kind}"][: self._count(kind)]

    def example_losses(self, kind: str = "posterior") -> Iterator[np.ndarray]:
        """Yield ℓᵢ(w) - ℓᵢ(w*) `(chain, example)` of each draw; refused where not all examples are kept."""
        starts = np.flatnonzero(np.diff(self.tokens.example, prepend=-1))
        if len(starts) != self.size:
            raise InputError(
                f"the store keeps {len(starts)} of {self.size} examples, but all are needed; read without "
                "rows."
            )
        for losses in self.losses(kind):
            yield self.size * np.add.reduceat(losses * self.tokens.weight, starts, 1)

    def check(self) -> None:
        """Refuse chains from which nothing can be worked out."""
        if self.estimate.status is Status.diverged:
            raise InputError(
                "the chains of this reading left the finite numbers; read again at a smaller nbeta or a "
                "larger localization."
            )
        if self.counts[0] < LEAST_READINGS:
            raise InputError(
                f"the store holds {self.counts[0]} complete draws, but at least {LEAST_READINGS} are needed; "
                "call lltc.read again to go on."
            )

    def _count(self, kind: str) -> int:
        if kind not in KINDS:
            raise InputError(f"kind must be one of {', '.join(KINDS)}, but {kind!r} was given; pass one.")
        return self.counts[KINDS.index(kind)]

    def _place(self, component: str | None) -> int:
        if component is None:
            return 0
        if component not in self.components:
            raise InputError(
                f"component must be one of {', '.join(self.components) or 'none'}, but {component!r} was "
                "given; pass one, or None for the whole."
            )
        return 1 + self.components.index(component)


def _header(path: Path, file: Any) -> tuple[dict[str, Any], Extent]:
    """Return what a store says of itself, of the kinds that it must be."""
    try:
        text = file.attrs["header"]
        if not isinstance(text, str) or len(text) > MOST_TEXT:
            raise ValueError("it is no text")
        header = json.loads(text)
        extent = Extent(*header["extent"])
        whole = [*extent, header["size"]]
        names = header["components"]
        wrong = any(type(count) is not int or not 0 <= count < 1 << 40 for count in whole)
        wrong |= not isinstance(names, list) or not all(isinstance(name, str) for name in names)
        wrong |= len(names) != extent.components or len(names) > MOST_COMPONENTS
        wrong |= header["dtype"] not in ("float32", "float64") or min(extent.chains, extent.tokens) < 1
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise refused(path, f"has no header that can be read ({printable(str(error), 200)})") from error
    if wrong:
        raise refused(path, "has a header that describes no reading")
    return header, extent


def _check(path: Path, extent: Extent, size: int, count: np.ndarray, tokens: Tokens) -> None:
    """Refuse counts and tokens that cannot be."""
    if np.any(count < 0) or np.any(count > [extent.posterior, extent.prior]):
        raise refused(path, f"counts {count.tolist()} draws of {list(extent[:2])}")
    ordered = np.all(np.diff(tokens.example) >= 0) and 0 <= tokens.example[0] <= tokens.example[-1] < size
    weighed = np.all(tokens.weight > 0) and tokens.weight.sum() < 1 + 1e-6
    if not ordered or not weighed or np.any(tokens.position < 0) or not np.isfinite(tokens.loss).all():
        raise refused(path, "lists tokens that cannot be")


def _load_estimate(path: Path) -> LLCEstimate:
    beside = path.parent / ESTIMATE
    if not beside.exists():
        raise refused(path, "is not finished, as no estimate lies beside it: call lltc.read again")
    try:
        return LLCEstimate.load(beside)
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise refused(path, f"has an estimate that cannot be read ({printable(str(error), 200)})") from error
