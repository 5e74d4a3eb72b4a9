"""Sweep a folder of checkpoints on a SLURM cluster: one job a worker, started and ended by this script.

On the login node, in the folder of `network.py`:

    python slurm_sweep.py checkpoints --model network:model --data network:data --out sweep --jobs 8

or with `--local` to try the same on one machine. Run it again after any interruption: it goes on from there.
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

import lltc
from lltc.cli.arguments import load_attribute, load_value
from lltc.report import table


def parse() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description="Sweep a folder of checkpoints on a SLURM cluster.")
    parser.add_argument("checkpoints")
    parser.add_argument("--model", required=True, help="loss as pkg.module:attr")
    parser.add_argument("--data", required=True, help="data set as pkg.module:attr")
    parser.add_argument(
        "--out", type=Path, required=True, help="the sweep's folder, on a disk every node sees"
    )
    parser.add_argument("--jobs", type=int, default=2, help="jobs, a worker each")
    parser.add_argument("--local", action="store_true", help="workers on this machine instead of jobs")
    parser.add_argument("--queue", help="SLURM partition")
    parser.add_argument("--account", help="SLURM account")
    parser.add_argument("--walltime", default="04:00:00", help="time of a job")
    parser.add_argument("--memory", default="16GB", help="memory of a job")
    parser.add_argument("--cores", type=int, default=4, help="processor cores of a job")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of a job, 0 or 1")
    parser.add_argument("--prologue", action="append", default=[], help="shell line before a worker starts")
    parser.add_argument("--num-draws", type=int, help="draws a chain; by default as many as needed")
    return parser.parse_args()


@contextlib.contextmanager
def slurm_jobs(chosen: argparse.Namespace) -> Iterator[str]:
    """Submit the jobs, and others for those that end; yield the scheduler's address; end them."""
    cluster = slurm_cluster(chosen)
    with cluster:
        cluster.adapt(minimum_jobs=chosen.jobs, maximum_jobs=chosen.jobs)
        yield cluster.scheduler_address


def slurm_cluster(chosen: argparse.Namespace):
    """Return a cluster whose jobs are one single-threaded worker each."""
    from dask_jobqueue.slurm import SLURMCluster

    return SLURMCluster(
        queue=chosen.queue,
        account=chosen.account,
        walltime=chosen.walltime,
        memory=chosen.memory,
        cores=1,
        processes=1,
        job_cpu=chosen.cores,
        job_extra_directives=["--gres=gpu:1"] if chosen.gpus else [],
        job_script_prologue=[f"export PYTHONPATH={Path.cwd()}:$PYTHONPATH", *chosen.prologue],
        worker_extra_args=["--lifetime", lifetime(chosen.walltime), "--no-dashboard"],
        scheduler_options={"dashboard_address": ":0"},
        local_directory="/tmp",
        log_directory="slurm-logs",
    )


def lifetime(walltime: str) -> str:
    """Return how long a worker takes new checkpoints: all of the job but its last minutes.

    A worker that ends by itself is no suspect; one that SLURM ends in the middle of a checkpoint is.
    """
    hours, minutes, seconds = (int(part) for part in walltime.split(":"))
    whole = 3600 * hours + 60 * minutes + seconds
    return f"{max(whole - 300, whole // 2)}s"


def main() -> None:
    """Sweep on the cluster, print the table, write the page."""
    chosen = parse()
    place = contextlib.nullcontext(None) if chosen.local else slurm_jobs(chosen)
    with place as scheduler:
        swept = lltc.sweep(
            chosen.checkpoints,
            load_attribute("model", chosen.model),
            load_value("data", chosen.data),
            out=chosen.out,
            scheduler=scheduler,
            workers=chosen.jobs if chosen.local else 0,
            num_draws=chosen.num_draws,
        )
    print(table(swept.curve, swept.transitions))
    print(swept.report())


if __name__ == "__main__":
    main()
