"""Checkpoints that share weights with one of another step, in whole or in part: one of the names is wrong."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FROZEN = 0.1  # share of the intervals beyond which a leaf that stands still is held on purpose
SHARD = 0.1  # share of the moving leaves that a shard has at least
SHOWN = 6

Weights = Mapping[str, str]


def find_repeats(rows: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """Return, by step, with which other steps a checkpoint shares its weights, as a sentence.

    Checkpoints are compared by the hashes of their leaves (`weights`, where that of one value all over begins
    with "="), in results that lack them by their files'. A single leaf counts where it comes back to an
    earlier value, or stands still in an interval, not the first, in which others move, and in hardly any
    other.
    """
    identified = [row for row in rows if row.get("checkpoint")]
    known = {int(row["step"]): _weights(row) for row in identified}
    contents = {int(row["step"]): str(row["checkpoint"]) for row in identified}
    steps = sorted(known)
    groups = _group(steps, known, contents)
    repeats = {step: _sentence(step, group) for group in groups if len(group) > 1 for step in group}
    alone = [group[0] for group in groups if len(group) == 1 and known[group[0]]]
    return repeats | _find_shards(alone, known)


def _group(
    steps: Sequence[int], known: Mapping[int, Weights], contents: Mapping[int, str]
) -> list[list[int]]:
    """Return the steps in groups that share their weights, or, where one's are not known, their file."""
    groups: list[list[int]] = []
    heads: dict[tuple[str, Any], list[int]] = {}
    for step in steps:
        weights, file = frozenset(known[step].items()), contents[step]
        asked = [("weights", weights), ("file alone", file)] if weights else [("file", file)]
        group = next((heads[key] for key in asked if key in heads), None)
        if group is None:
            groups.append(group := [])
            own = ("weights", weights) if weights else ("file alone", file)
            heads |= {own: group, ("file", file): heads.get(("file", file), group)}
        group.append(step)
    return groups


def _sentence(step: int, group: Sequence[int]) -> str:
    others = [str(other) for other in group if other != step]
    shown = ", ".join(others[:SHOWN]) + (f" and {len(others) - SHOWN} more" if len(others) > SHOWN else "")
    return (
        f"The same weights lie at step{'s' * (len(others) > 1)} {shown}; all but one may be misnamed, so no "
        "transition is marked from them."
    )


def _find_shards(steps: Sequence[int], known: Mapping[int, Weights]) -> dict[int, str]:
    """Return the steps at which single leaves are those of another step, where they should have moved."""
    names = [name for name in known[steps[0]] if all(name in known[step] for step in steps)] if steps else []
    series = {name: [known[step][name] for step in steps] for name in names}
    moving = {name: hashes for name, hashes in series.items() if len(set(hashes)) > 1}
    pairs: dict[tuple[int, int], list[str]] = {}
    returned: set[tuple[int, int]] = set()
    for name, hashes in moving.items():
        still = [place for place in range(1, len(hashes)) if hashes[place] == hashes[place - 1]]
        last: dict[str, int] = {}
        for place, digest in enumerate(hashes):
            before = last.get(digest)
            last[digest] = place
            if before is None or digest.startswith("="):
                continue
            pair = (steps[before], steps[place])
            if before < place - 1:
                returned.add(pair)
            elif before == 0 or len(still) > max(1, FROZEN * (len(hashes) - 1)) or len(hashes) < 5:
                continue
            pairs.setdefault(pair, []).append(name)
    repeated = {}
    for (low, high), leaves in pairs.items():
        if (low, high) in returned or len(leaves) >= SHARD * len(moving):
            for step, other in ((low, high), (high, low)):
                repeated[step] = (
                    f"{len(leaves)} of {len(moving)} leaves that move, such as {leaves[0]}, are those of "
                    f"step {other}; a shard may be of another step, so no transition is marked from here."
                )
    return repeated


def _weights(row: Mapping[str, Any]) -> Weights:
    """Return the hashes of a row's leaves by name; none where an older result, or a damaged one, has none."""
    try:
        weights = json.loads(row.get("weights", "{}"))
    except (ValueError, TypeError, RecursionError):
        return {}
    good = isinstance(weights, dict) and all(isinstance(digest, str) for digest in weights.values())
    return weights if good else {}
