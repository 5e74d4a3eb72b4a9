"""`lltc sweep`."""

from pathlib import Path

from lltc.cli.arguments import (
    Loading,
    Sampling,
    as_options,
    as_reading,
    as_template,
    load_attribute,
    load_value,
    name_globs,
)
from lltc.cli.showing import print_sweep
from lltc.errors import InputError


def sweep(
    checkpoints: str,
    *,
    model: str,
    data: str,
    out: Path,
    runs: bool = False,
    pattern: str | None = None,
    revisions: str | None = None,
    keep: int | None = None,
    workers: int = 0,
    scheduler: str | None = None,
    budget: int | None = None,
    dry_run: bool = False,
    observables: str | None = None,
    along_chains: list[str] | None = None,
    components: list[str] | None = None,
    progress: bool = True,
    loading: Loading | None = None,
    sampling: Sampling | None = None,
) -> None:
    """Estimate the learning coefficient at every checkpoint of a folder; run again to resume.

    What is done stays; what a changed model, data set, setting or checkpoint puts out of date is estimated
    anew, and a line says why.

    Parameters
    ----------
    checkpoints
        Folder, or its URL, of Orbax, safetensors, npz, Flax, Equinox or PyTorch checkpoints; with --runs, a
        local folder of such folders. hf://org/name is a repository on the Hugging Face hub.
    model
        Loss (params, batch) -> (batch,) as pkg.module:attr.
    data
        Data set as pkg.module:attr; a function without arguments is called.
    out
        The sweep's folder, created when missing.
    runs
        Each sub-folder is a run (seed or setting), swept into its own folder in out at one nβ and γ.
    pattern
        Which sub-folders are runs, such as "seed*"; default all but hidden ones.
    revisions
        Which branches and tags of a repository hf://org/name are checkpoints, such as "step*".
    keep
        How many downloaded revisions remain on disk; default all, in the cache of huggingface-hub.
    workers
        Worker processes started here, one GPU each where there are GPUs; 0 works in this one.
    scheduler
        Address of a running Dask scheduler whose workers do the work, such as tcp://host:8786.
    budget
        The most checkpoints to estimate, chosen to find and place the transitions; default all.
    dry_run
        Print what would be done, why and how long it would take; write nothing.
    observables
        Dictionary as pkg.module:attr: functions params -> number or vector, or data sets for sub-losses.
    along_chains
        Names of observables that every 16th draw is seen through as well; JAX must be able to trace them.
    components
        Globs over parameter paths; each is estimated as well, alone moving. NAME=GLOB names one.
    progress
        Show a bar on a terminal, one line a checkpoint elsewhere.
    """
    from lltc import sweeps
    from lltc.checkpoints.remote import as_folder

    _check_together(runs=runs, pattern=pattern, budget=budget, dry_run=dry_run)
    folder = as_folder(checkpoints, revisions, keep)
    arguments = as_options(sampling) | as_reading(loading)
    arguments |= {
        "out": out,
        "workers": workers,
        "observables": load_value("observables", observables),
        "along_chains": tuple(along_chains or ()),
        "components": name_globs(components),
        "template": as_template(loading),
    }
    loss, examples = load_attribute("model", model), load_value("data", data)
    if runs:
        arguments["pattern"] = "*" if pattern is None else pattern
    if dry_run:
        preview = sweeps.preview_runs if runs else sweeps.preview_sweep
        print(preview(checkpoints if runs else folder, loss, examples, **arguments))
        return
    arguments |= {"scheduler": scheduler, "progress": progress}
    if budget is not None:
        arguments |= {"budget": budget, "together": max(workers, 4)}
        print_sweep(sweeps.sweep_adaptively(folder, loss, examples, **arguments))
        return
    if runs:
        for name, swept in sweeps.sweep_runs(checkpoints, loss, examples, **arguments).items():
            print_sweep(swept, name)
    else:
        print_sweep(sweeps.sweep(folder, loss, examples, **arguments))


def _check_together(*, runs: bool, pattern: str | None, budget: int | None, dry_run: bool) -> None:
    """Refuse flags of which one would go unheeded beside another."""
    if pattern is not None and not runs:
        raise InputError(
            "pattern says which sub-folders are runs, but --runs was not given; give it, or leave pattern "
            "out."
        )
    if budget is not None and runs:
        raise InputError("budget is for one run, but --runs was given; sweep each run on its own.")
    if budget is not None and dry_run:
        raise InputError(
            "budget was given with --dry-run, but what it leaves out is chosen by the estimates as they "
            "come; leave one of them out."
        )
