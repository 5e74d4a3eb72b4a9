"""`lltc estimate`."""

from pathlib import Path

from lltc.cli.arguments import Loading, Sampling, as_options, load_attribute, load_params, load_value
from lltc.cli.streams import print_and_save


def estimate(
    checkpoint: str,
    *,
    model: str,
    data: str,
    out: Path | None = None,
    progress: bool = True,
    loading: Loading | None = None,
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
    progress
        Show a progress bar, and say where it will take long.
    """
    from lltc.compilation import cached_compilation
    from lltc.diagnostics.status import Status
    from lltc.estimates.llc import estimate_llc

    loss = load_attribute("model", model)
    with cached_compilation():
        estimate = estimate_llc(
            loss,
            load_params(checkpoint, loading, loss),
            load_value("data", data),
            progress=progress,
            **as_options(sampling),
        )
    print_and_save(estimate.summary(), out, estimate.save)
    if estimate.status is Status.interrupted:
        raise KeyboardInterrupt
