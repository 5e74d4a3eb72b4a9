"""`lltc observe`."""

from pathlib import Path

from lltc.cli.arguments import Loading, as_reading, as_template, load_attribute, load_value
from lltc.cli.streams import save


def observe(
    checkpoints: str,
    *,
    model: str,
    data: str,
    observables: str | None = None,
    out: Path | None = None,
    examples: int = 2048,
    loading: Loading | None = None,
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
    """
    from lltc import sweeps

    observations = sweeps.observe(
        checkpoints,
        load_attribute("model", model),
        load_value("data", data),
        observables=load_value("observables", observables),
        examples=examples,
        template=as_template(loading),
        **as_reading(loading),
    )
    print(observations, flush=True)
    if out is not None:
        save(out, observations.to_csv)
