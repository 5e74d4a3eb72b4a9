"""`lltc check`."""

import sys

from lltc.cli.arguments import Loading, Sampling, as_options, load_attribute, load_params, load_value


def check(
    checkpoint: str,
    *,
    model: str,
    data: str,
    loading: Loading | None = None,
    sampling: Sampling | None = None,
) -> None:
    """Look once at model, checkpoint and data, without any chain, and print what is found.

    The status is 1 where there is more than notes.

    Parameters
    ----------
    checkpoint
        One checkpoint, in any format of `lltc sweep`.
    model
        Loss (params, batch) -> (batch,) as pkg.module:attr.
    data
        Data set as pkg.module:attr; a function without arguments is called.
    """
    from lltc.compilation import cached_compilation
    from lltc.estimates.checking import check as look

    loss = load_attribute("model", model)
    params = load_params(checkpoint, loading, loss)
    with cached_compilation():
        findings = look(loss, params, load_value("data", data), **as_options(sampling))
    print(findings.summary(), flush=True)
    if not findings.ok:
        sys.exit(1)
