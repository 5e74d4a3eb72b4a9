"""A page of tokens in their context, coloured by cluster: to look at, filter and search; it asks nothing."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from lltc.errors import InputError
from lltc.files import write_whole
from lltc.report.frame import fill_frame, read_asset
from lltc.report.tables import write_rows
from lltc.report.wording import number

MOST_TOKENS = 20_000
NAMED = 3


@dataclass(frozen=True, eq=False)
class TokenPage:
    """What a page shows of tokens, `(token,)` each: whose they are, their loss, cluster and `notes`.

    `label` is -1 for tokens in no cluster. `clusters` are (tokens, stability, strongest components with their
    response as text); `notes` of a token are pairs of a component and a text. `texts[example][position]`, or
    None, is a token as text. `caveat` is the status of the chains where it is not ok.
    """

    title: str
    example: np.ndarray
    position: np.ndarray
    loss: np.ndarray
    label: np.ndarray
    clusters: Sequence[tuple[int, float, Sequence[tuple[str, str]]]]
    notes: Sequence[Sequence[tuple[str, str]]]
    texts: Sequence[Sequence[str]] | None = None
    caveat: str = ""


def write_token_page(path: str | Path, page: TokenPage) -> Path:
    """Write a page of tokens to `path`, whole or not at all, and return it.

    At most 20,000 tokens are shown, those of the first examples; the page says so.

    Raises:
        InputError: `texts` do not reach as far as the tokens do.

    Example:
        >>> import tempfile
        >>> one = np.array([0])
        >>> page = TokenPage("Tokens", one, one, one, one, [(1, 1.0, [("a", "2 ± 1")])], [[]], [["word"]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_token_page(f"{folder}/tokens.html", page).name
        'tokens.html'
    """
    _check(page)
    count = int(np.searchsorted(page.example, page.example[min(len(page.example), MOST_TOKENS) - 1], "right"))
    count = min(count, MOST_TOKENS)
    write_whole(Path(path), _fill(page, count).encode())
    return Path(path)


def _check(page: TokenPage) -> None:
    if page.texts is None:
        return
    lengths = np.array([len(words) for words in page.texts])
    if len(lengths) <= page.example.max() or np.any(lengths[page.example] <= page.position):
        raise InputError(
            f"texts hold {len(lengths)} examples, but a token's text is texts[example][position] and "
            f"examples reach to {page.example.max()}; pass the text of every token, by example."
        )


def _fill(page: TokenPage, count: int) -> str:
    examples = len(np.unique(page.example[:count]))
    lead = f"{count:,} tokens of {examples:,} examples in {len(page.clusters)} clusters"
    if count < len(page.example):
        lead += f", the first of {len(page.example):,}"
    if page.caveat:
        lead += f"; the status of the chains is {page.caveat}"
    names = sorted({name for notes in page.notes[:count] for name, _ in notes})
    place = {name: at for at, name in enumerate(names)}
    payload = {
        "label": page.label[:count].tolist(),
        "position": page.position[:count].tolist(),
        "loss": [number(float(loss), 4) for loss in page.loss[:count]],
        "components": names,
        "notes": [[[place[name], text] for name, text in notes] for notes in page.notes[:count]],
        "order": [*range(len(page.clusters)), -1],
        "examples": _examples(page, count),
    }
    body = Template(read_asset("tokens.html")).substitute(
        title=html.escape(page.title), lead=html.escape(lead + "."), clusters=_clusters(page)
    )
    styles, scripts = ("page.css", "tokens.css"), ("tokens.js",)
    return fill_frame(page.title, body, styles=styles, scripts=scripts, data=payload)


def _clusters(page: TokenPage) -> str:
    """Return the table of clusters, of all tokens; the last row stands for those in none."""
    head = [("word", "cluster"), ("", "tokens"), ("", "stability"), ("word", "response")]
    rows: list[list[tuple[str, str]]] = []
    for cluster, (size, stability, strongest) in enumerate(page.clusters):
        told = html.escape(", ".join(f"{name} {text}" for name, text in strongest[:NAMED]))
        rows.append([("word", str(cluster)), ("", f"{size:,}"), ("", f"{stability:.2f}"), ("word", told)])
    left = int(np.sum(page.label < 0))
    rows.append([("word", "none"), ("", f"{left:,}"), ("", ""), ("word", "")])
    return write_rows(head, rows, "clusters")


def _examples(page: TokenPage, count: int) -> list[dict[str, Any]]:
    """Return the examples as pieces of text, each with the number of the token that it is, or None."""
    bounds = np.flatnonzero(np.diff(page.example[:count], prepend=-1))
    shown = []
    for low, high in zip(bounds, [*bounds[1:], count], strict=True):
        example = int(page.example[low])
        tokens = {int(page.position[token]): int(token) for token in range(low, high)}
        if page.texts is None:
            pieces = [[f"{position} ", token] for position, token in tokens.items()]
        else:
            words = page.texts[example]
            pieces = [[str(words[at]), tokens.get(at)] for at in range(len(words))]
        shown.append({"name": example, "pieces": pieces})
    return shown
