"""`lltc estimate`."""

from pathlib import Path

from lltc.cli.arguments import Sampling, as_options, load_attribute, load_value


def estimate(
    checkpoint: Path,
    *,
    model: str,
    data: str,
    out: Path | None = None,
    params_key: str | None = None,
    template: str | None = None,
    progress: bool = True,
    sampling: Sampling | None = None,
) -> None:
    """Estimate the learning coefficient at one checkpoint and print its summary.

    Parameters
    ----------
    checkpoint
        One checkpoint, in any format of `lltc sweep`.
    model
        Loss (params, batch) -> (batch,) as pkg.module:attr.
    data
        Data set as pkg.module:attr; a function without arguments is called.
    out
        File for the draws (netCDF4); none by default.
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
    shape = load_value("template", template) if template else getattr(loss, "params", None)
    found = estimate_llc(
        loss,
        open_checkpoint(checkpoint, params_key=params_key).load(shape),
        load_value("data", data),
        progress=progress,
        **as_options(sampling),
    )
    if out is not None:
        found.save(out)
    print(found.summary())
