"""The shell: `lltc demo`, `lltc sweep`, `lltc estimate`, `lltc show`, `lltc report`."""

import json
import math
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from lltc.errors import InputError

app = App(
    name="lltc",
    help="Local learning coefficients over training: untuned estimates, curves with marked transitions.",
    version="0.1.0",
)

Reference = Annotated[str, Parameter(help="pkg.module:attr, found from the current folder too")]


@app.command
def demo(*, out: Path = Path("lltc-demo")) -> None:
    """Train the bottleneck network, sweep its checkpoints and compare the curve with the known plateaus.

    Parameters
    ----------
    out
        Folder for checkpoints, sweep, picture and report.
    """
    from lltc.demo import run_demo

    run_demo(out)


@app.command
def sweep(
    checkpoints: Path,
    *,
    model: Reference,
    data: Reference,
    out: Path,
    key: int = 0,
    nbeta: float | None = None,
    localization: float | None = None,
    num_chains: int = 8,
    num_draws: int | None = None,
    num_warmup: int = 1000,
    batch_size: int | None = None,
    step_size: float | None = None,
    target_rel_se: float = 0.02,
    restrict: list[str] | None = None,
    linear: bool = True,
    params_key: str | None = None,
    template: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Estimate the learning coefficient at every checkpoint of a folder; run again to resume.

    Parameters
    ----------
    checkpoints
        Folder of Orbax, safetensors or npz checkpoints.
    model
        Loss (params, batch) -> (batch,) as pkg.module:attr.
    data
        Data set as pkg.module:attr; a function without arguments is called.
    out
        The sweep's folder, created when missing.
    key
        Random seed.
    nbeta
        Inverse temperature nβ; default n/ln n.
    localization
        Strength γ of the pull towards the checkpoint; default from the last checkpoint's norm.
    num_chains
        Chains run side by side.
    num_draws
        Draws a chain; by default as many as target_rel_se needs.
    num_warmup
        Steps before drawing.
    batch_size
        Examples a step; default 512, or all of up to 1024.
    step_size
        Step size ε; measured when not given.
    target_rel_se
        Relative standard error to reach when num_draws is not given.
    restrict
        Globs over parameter paths; only these move.
    linear
        With --no-linear, the loss without its slope at the checkpoint.
    params_key
        Where the params lie inside each checkpoint, such as params.
    template
        Pytree the params are fitted to, as pkg.module:attr.
    overwrite
        Start anew in a folder made with other settings.
    progress
        Show a progress bar.
    """
    from lltc.sweeps import sweep as run_sweep

    swept = run_sweep(
        checkpoints,
        load_attribute("model", model),
        _called(load_attribute("data", data)),
        out=out,
        key=key,
        nbeta=nbeta,
        localization=localization,
        num_chains=num_chains,
        num_draws=num_draws,
        num_warmup=num_warmup,
        batch_size=batch_size,
        step_size=step_size,
        target_rel_se=target_rel_se,
        restrict=restrict,
        linear=linear,
        params_key=params_key,
        template=_called(load_attribute("template", template)) if template else None,
        overwrite=overwrite,
        progress=progress,
    )
    _print_sweep(swept)


@app.command
def estimate(
    checkpoint: Path,
    *,
    model: Reference,
    data: Reference,
    out: Path | None = None,
    key: int = 0,
    nbeta: float | None = None,
    localization: float | None = None,
    num_chains: int = 8,
    num_draws: int | None = None,
    num_warmup: int = 1000,
    batch_size: int | None = None,
    step_size: float | None = None,
    restrict: list[str] | None = None,
    linear: bool = True,
    params_key: str | None = None,
    template: str | None = None,
    progress: bool = True,
) -> None:
    """Estimate the learning coefficient at one checkpoint and print its summary.

    Parameters
    ----------
    checkpoint
        One Orbax, safetensors or npz checkpoint.
    model
        Loss (params, batch) -> (batch,) as pkg.module:attr.
    data
        Data set as pkg.module:attr; a function without arguments is called.
    out
        File for the draws (netCDF4); none by default.
    key
        Random seed.
    nbeta
        Inverse temperature nβ; default n/ln n.
    localization
        Strength γ of the pull towards the checkpoint; default from its norm.
    num_chains
        Chains run side by side.
    num_draws
        Draws a chain; by default as many as two percent of standard error need.
    num_warmup
        Steps before drawing.
    batch_size
        Examples a step; default 512, or all of up to 1024.
    step_size
        Step size ε; measured when not given.
    restrict
        Globs over parameter paths; only these move.
    linear
        With --no-linear, the loss without its slope at the checkpoint.
    params_key
        Where the params lie inside the checkpoint, such as params.
    template
        Pytree the params are fitted to, as pkg.module:attr.
    progress
        Show a progress bar.
    """
    from lltc.checkpoints import open_checkpoint
    from lltc.llc import estimate_llc

    loss = load_attribute("model", model)
    shape = _called(load_attribute("template", template)) if template else getattr(loss, "params", None)
    found = estimate_llc(
        loss,
        open_checkpoint(checkpoint, params_key=params_key).load(shape),
        _called(load_attribute("data", data)),
        key=key,
        nbeta=nbeta,
        localization=localization,
        num_chains=num_chains,
        num_draws=num_draws,
        num_warmup=num_warmup,
        batch_size=batch_size,
        step_size=step_size,
        restrict=restrict,
        linear=linear,
        progress=progress,
    )
    if out is not None:
        found.save(out)
    print(found.summary())


@app.command
def show(folder: Path, *, as_json: Annotated[bool, Parameter(name="--json", negative=())] = False) -> None:
    """Print a sweep's table, a sketch of its curve and its transitions.

    Parameters
    ----------
    folder
        The sweep's folder.
    as_json
        Print the curve and the transitions as JSON instead.
    """
    from lltc.sweeps import Sweep

    swept = Sweep.open(folder)
    if as_json:
        print(json.dumps(to_json(swept), allow_nan=False))
    else:
        _print_sweep(swept)


@app.command
def report(folder: Path, *, out: Path | None = None) -> None:
    """Write a sweep's HTML page and print its path.

    Parameters
    ----------
    folder
        The sweep's folder.
    out
        Where the page goes; default report.html in the folder.
    """
    from lltc.sweeps import Sweep

    print(Sweep.open(folder).report(out))


def to_json(swept: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the curve and the transitions as plain JSON values; numbers that are not finite become null."""
    curve = swept.curve
    columns = {name: curve[name].values for name in ("llc", "llc_se", "loss")}
    points = [
        {"step": int(step)}
        | {name: _number(values[i]) for name, values in columns.items()}
        | {"status": str(status)}
        for i, (step, status) in enumerate(zip(curve["step"].values, curve["status"].values, strict=True))
    ]
    markers = [
        {
            "step_low": int(t.step_low),
            "step_high": int(t.step_high),
            "delta_llc": _number(t.delta_llc),
            "delta_llc_se": _number(t.delta_llc_se),
            "kind": t.kind,
            "probability": _number(t.probability),
        }
        for t in swept.transitions
    ]
    return {"curve": points, "transitions": markers}


def load_attribute(argument: str, reference: str) -> Any:
    """Return the object `pkg.module:attr` names, looking in the current folder first."""
    module_name, separator, attribute = reference.partition(":")
    if not (module_name and separator and attribute):
        raise InputError(
            f"{argument} must be written pkg.module:attr, but {reference!r} was given; name the module and "
            "the attribute."
        )
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        value: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{argument}={reference!r} names a module that cannot be imported ({error}); run lltc where it "
            "can be, or install it."
        ) from None
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise InputError(
                f"{argument}={reference!r} names {name!r}, which {module_name} does not have; check its "
                "spelling."
            )
        value = getattr(value, name)
    return value


def _called(value: Any) -> Any:
    return value() if callable(value) and not hasattr(value, "__getitem__") else value


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _print_sweep(swept: Any) -> None:
    from lltc.report import sketch, table

    print(table(swept.curve, swept.transitions))
    print()
    print(sketch(swept.curve["step"].values, swept.curve["llc"].values, swept.transitions))


def main() -> None:
    """Run the shell; bad input ends with its sentence and exit status 2, Ctrl-C with 130."""
    try:
        app()
    except InputError as error:
        print(f"lltc: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(
            "lltc: stopped; what is finished is kept, and the same command goes on from there.",
            file=sys.stderr,
        )
        sys.exit(130)


if __name__ == "__main__":
    main()
