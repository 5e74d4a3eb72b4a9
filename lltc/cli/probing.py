"""`lltc components` and `lltc probe`."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from lltc.cli.arguments import (
    Loading,
    Sampling,
    as_options,
    as_reading,
    as_template,
    load_attribute,
    load_value,
)
from lltc.cli.streams import save
from lltc.errors import InputError

SHOWN = 4


def components(
    checkpoint: str,
    *patterns: str,
    loading: Loading | None = None,
) -> None:
    """Print the parameters of a checkpoint, or what each pattern selects of them, with counts.

    Parameters
    ----------
    checkpoint
        One checkpoint in any format of `lltc sweep`, or a folder of them, of which the last is read.
    patterns
        Globs over parameter paths, with an index at the end where wanted: "layers/*/attn/q[:,3]"; or heads,
        mlps, layers or embeddings, of a transformer (heads by the number in the config.json beside it).
    """
    from lltc.checkpoints import find_checkpoints, open_checkpoint
    from lltc.posterior.components import list_components, name_components

    reading = as_reading(loading)
    try:
        record = open_checkpoint(checkpoint, **reading)
    except InputError:
        record = find_checkpoints(checkpoint, **reading)[-1]
    params = record.load(as_template(loading))
    if not patterns:
        print(list_components(params))
    num_heads = record.num_heads() if "heads" in patterns else None
    for pattern in patterns:
        members = name_components([pattern], params, num_heads=num_heads)
        if pattern in members:
            print(f"{pattern}\n{list_components(params, pattern)}\n")
        else:
            rows = {name: (list_components(params, chosen), chosen) for name, chosen in members.items()}
            print(_table(pattern, rows))


def _table(kind: str, rows: dict[str, tuple[Any, Any]]) -> str:
    """Return a line a component: its name, how many parameters it has and the patterns that select them."""
    from lltc.report import align

    lines = [
        (name, f"{component.selected:,}", ", ".join(chosen[:SHOWN]) + _rest(chosen))
        for name, (component, chosen) in rows.items()
    ]
    return f"{kind} ({len(rows)})\n{align(lines, left=(0, 2))}\n"


def _rest(chosen: Sequence[str]) -> str:
    return f" and {len(chosen) - SHOWN} more" if len(chosen) > SHOWN else ""


def probe(
    before: str,
    after: str,
    *,
    model: str,
    data: str,
    components: list[str] | None = None,
    refine: bool = False,
    directions: int = 64,
    examples: int = 1024,
    plot: Path | None = None,
    sweep: Path | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
    progress: bool = True,
    loading: Loading | None = None,
    sampling: Sampling | None = None,
) -> None:
    """Print what changed between two checkpoints: λ̂, stiff directions, components, examples.

    Parameters
    ----------
    before
        The earlier checkpoint, in any format of `lltc sweep`.
    after
        The later one.
    model
        Loss (params, batch) -> (batch,) as pkg.module:attr.
    data
        Data set as pkg.module:attr; a function without arguments is called.
    components
        Patterns, one a component; default one component a leaf. `lltc components` shows what they select.
    refine
        Also give each component's refined coefficient: two more estimates a component.
    directions
        How many of the stiffest directions are looked at where more than 512 parameters move.
    examples
        Of how many examples the losses are followed and the Hessian is taken.
    plot
        File for a picture of the spectra before and after.
    sweep
        Folder of a sweep whose page is written anew, with this probe alone on it.
    as_json
        Print JSON instead.
    progress
        Show a progress bar.
    """
    from lltc.checkpoints import open_checkpoint
    from lltc.checkpoints.remote import as_path
    from lltc.probes import probe as probe_checkpoints
    from lltc.sweeps import Sweep

    loss = load_attribute("model", model)
    swept = Sweep.open(sweep) if sweep is not None else None
    reading, shape = as_reading(loading), as_template(loading, loss)
    change = probe_checkpoints(
        loss,
        open_checkpoint(before, **reading).load(shape),
        open_checkpoint(after, **reading).load(shape),
        load_value("data", data),
        components=components,
        refine=refine,
        directions=directions,
        examples=examples,
        progress=progress,
        **as_options(sampling),
    )
    try:
        print(json.dumps(probe_to_json(change), allow_nan=False) if as_json else change, flush=True)
    finally:  # A closed pipe must not cost page and picture.
        if swept is not None:
            swept.report(probes={f"{as_path(before).name} → {as_path(after).name}": change})
        if plot is not None:
            figure: Any = change.plot().figure
            save(plot, figure.savefig)


def probe_to_json(probe: Any) -> dict[str, Any]:
    """Return a probe as plain JSON values; numbers that are not finite become null."""
    scalars = ("delta_llc", "delta_llc_se", "num_stiffened", "num_softened", "participation")
    scalars += ("param_participation", "moved_inside", "moved_outside")
    shown: dict[str, Any] = {name: _number(getattr(probe, name)) for name in scalars}
    shown |= {"lower_bound": probe.change.lower_bound, "nbeta": probe.after.nbeta}
    shown["localization"] = probe.after.localization
    for name, estimate, stiffness in (
        ("before", probe.before, probe.stiffness_before),
        ("after", probe.after, probe.stiffness_after),
    ):
        shown[name] = {"llc": _number(estimate.llc), "llc_se": _number(estimate.llc_se)}
        shown[name] |= {"status": estimate.status.name, "num_stiff": stiffness.num_stiff}
    shown["by_component"] = {
        name: {key: _part(value) for key, value in part._asdict().items() if value is not None}
        for name, part in probe.by_component.items()
    }
    if probe.examples is not None:
        shown["examples_changed"] = probe.examples.num_changed
        shown["examples_most_changed"] = probe.examples.examples[probe.examples.most(10)].tolist()
    return shown


def _part(value: Any) -> Any:
    """Return a number, or a number and its error as a list."""
    return [_number(part) for part in value] if isinstance(value, tuple) else _number(value)


def _number(value: Any) -> float | int | None:
    if not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(value)
