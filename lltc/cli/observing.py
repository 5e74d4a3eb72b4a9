"""`lltc observe`."""

from pathlib import Path
from typing import Literal

from lltc.cli.arguments import load_attribute, load_value


def observe(
    checkpoints: str,
    *,
    model: str,
    data: str,
    observables: str | None = None,
    out: Path | None = None,
    examples: int = 2048,
    params_key: str | None = None,
    template: str | None = None,
    loader: str | None = None,
    transpose: Literal["torch"] | None = None,
) -> None:
    """Evaluate loss, gradient norm, weight norm and observables at every checkpoint, without any chain.

    Parameters
    ----------
    checkpoints
        Folder, or its URL, of checkpoints in any format of `lltc sweep`.
    model
        Loss (params, batch) -> (batch,) as pkg.module:attr.
    data
        Data set as pkg.module:attr; a function without arguments is called.
    observables
        Dictionary as pkg.module:attr: functions params -> number or vector, or data sets for sub-losses.
    out
        File for the values (CSV); none by default.
    examples
        The most examples that loss and gradient are averaged over.
    params_key
        Where the params lie inside each checkpoint, such as params.
    template
        Pytree the params are fitted to, as pkg.module:attr.
    loader
        Function path -> params as pkg.module:attr, for checkpoints in a format of your own.
    transpose
        With torch, PyTorch's weights are turned into the template's layout.
    """
    from lltc import sweeps

    seen = sweeps.observe(
        checkpoints,
        load_attribute("model", model),
        load_value("data", data),
        observables=load_value("observables", observables),
        examples=examples,
        params_key=params_key,
        template=load_value("template", template),
        loader=load_attribute("loader", loader) if loader else None,
        transpose=transpose,
    )
    if out is not None:
        seen.to_csv(out)
    print(seen)
