"""`lltc observe`."""

from pathlib import Path

from lltc.cli.arguments import Loading, as_reading, as_template, load_attribute, load_value
from lltc.cli.streams import print_and_save


def observe(
    checkpoints: str,
    *,
    model: str,
    data: str,
    revisions: str | None = None,
    keep: int | None = None,
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
    revisions
        Which branches and tags of a repository hf://org/name are checkpoints, such as "step*".
    keep
        How many downloaded revisions remain on disk; default all, in the cache of huggingface-hub.
    observables
        Dictionary as pkg.module:attr: functions params -> number or vector, or data sets for sub-losses.
    out
        File for the values (CSV); none by default.
    examples
        The most examples that loss and gradient are averaged over.
    """
    from lltc import sweeps
    from lltc.checkpoints.remote import as_folder

    observations = sweeps.observe(
        as_folder(checkpoints, revisions, keep),
        load_attribute("model", model),
        load_value("data", data),
        observables=load_value("observables", observables),
        examples=examples,
        template=as_template(loading),
        **as_reading(loading),
    )
    print_and_save(observations, out, observations.to_csv)
