"""What a look finds, how it is printed, and what follows from it."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lltc.diagnostics.status import Status
from lltc.errors import InputError, LLCWarning

Kind = Literal["refused", "status", "warning", "note"]
MOST_NAMED = 4
ORDER: tuple[Kind, ...] = ("refused", "status", "warning", "note")


class Finding(NamedTuple):
    """One thing found: the `matter` in a word or two, a sentence that says what to do, and what follows.

    A verb raises what is `refused`, gives its estimate the `status`, issues an `LLCWarning` for a `warning`
    and only writes a `note` down.
    """

    matter: str
    kind: Kind
    sentence: str
    status: Status | None = None


@dataclass(frozen=True, repr=False)
class Findings:
    """What `lltc.check` found, the gravest first, and what was looked at.

    `num_params` numbers of `size` move, `num_examples` is n, `example` says what one example is, `nbeta` is
    nβ, `localization` γ and `loss` L_n(w*).
    """

    found: tuple[Finding, ...]
    num_params: int
    size: int
    num_examples: float
    example: str
    nbeta: float
    localization: float
    loss: float

    @property
    def ok(self) -> bool:
        """True when there is nothing but notes."""
        return all(finding.kind == "note" for finding in self.found)

    @property
    def status(self) -> Status | None:
        """The status that an estimate would have because of this, or None."""
        return next((finding.status for finding in self.found if finding.status is not None), None)

    def __repr__(self) -> str:
        matters = ", ".join(f"{finding.matter} ({finding.kind})" for finding in self.found) or "nothing amiss"
        return f"Findings({matters})"

    def summary(self) -> str:
        """Return a short text: what is sampled, and one line a finding."""
        lines = [
            f"moves       {self.num_params:,} of {self.size:,} numbers",
            f"data        n = {self.num_examples:,.6g}, one example is {self.example}",
            f"posterior   nβ = {self.nbeta:.4g}, γ = {self.localization:.4g}, loss {self.loss:.4g} at the "
            "checkpoint",
            *(f"{finding.kind:<11} {finding.matter}: {finding.sentence}" for finding in self.found),
        ]
        return "\n".join(lines if self.found else [*lines, "found       nothing amiss"])


def by_gravity(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with the gravest first."""
    return tuple(sorted(findings, key=lambda finding: ORDER.index(finding.kind)))


def noted(findings: Iterable[Finding], matter: str) -> tuple[Finding, ...]:
    """Return findings of which those of one matter are notes only."""
    return tuple(item._replace(kind="note") if item.matter == matter else item for item in findings)


def describe(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return each finding as one line of text."""
    return tuple(f"{finding.matter}: {finding.sentence}" for finding in findings)


def listed(names: Sequence[str]) -> str:
    """Return the first names of leaves, and how many more there are.

    Example:
        >>> listed(["a", "b", "c", "d", "e", "f"]), listed([""])
        ('a, b, c, d and 2 more leaves', 'params')
    """
    shown = ", ".join(name or "params" for name in names[:MOST_NAMED])
    return shown + (f" and {len(names) - MOST_NAMED} more leaves" if len(names) > MOST_NAMED else "")


def heed(findings: Iterable[Finding]) -> Status | None:
    """Raise what is refused, warn of what is doubtful, and return the status of the estimate to be."""
    every = by_gravity(findings)
    for finding in every:
        if finding.kind == "refused":
            raise InputError(finding.sentence)
        if finding.kind == "warning":
            warnings.warn(finding.sentence, LLCWarning, stacklevel=2)
    return next((finding.status for finding in every if finding.status is not None), None)
