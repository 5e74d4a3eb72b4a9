"""Does λ̂ tell early which networks will generalise? Runs of modular addition that grok, and runs that do not.

Run with `make bench-early-warning`; writes benchmarks/results/early_warning.{csv,md}. A short run
has ARGS="--keys 1 --looks 4".
"""

import argparse
import csv
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from grokking import observe, split, train
from modular import behavioral
from provenance import describe_run

import lltc

RESULTS = Path(__file__).parent / "results"
SHARES, DECAYS = (0.5, 0.53, 0.56), (0.05, 0.1, 0.2, 0.4)
# γ is the default at the start of a run, which does not know how it will end.
LOCALIZATION = 31.5
EFFORT: dict[str, Any] = {"nbeta": 1000.0, "num_warmup": 300, "num_draws": 500, "progress": False}
MEMORISED, UNKNOWING, GENERALISED = 0.99, 0.5, 0.9
FALSE_ALARMS = 0.1
RESAMPLES = 2000


class Look(NamedTuple):
    """What is measured at one checkpoint of one run."""

    share: float
    decay: float
    key: int
    step: int
    train_accuracy: float
    test_accuracy: float
    status: str
    llc: float
    llc_se: float
    rise: float
    marked_rise: float
    train_loss: float
    norm: float
    gradient: float
    defect: float
    concentration: float


Run = Sequence[Look]
# Which way each points is laid down here, not fitted: generalising networks are expected to have built more
# (λ̂ up), to be smaller, to have larger gradients left, and to be made of waves.
PREDICTORS: dict[str, tuple[str, int]] = {
    "llc": ("λ̂", 1),
    "rise": ("λ̂ above its lowest so far", 1),
    "marked_rise": ("rises that `find_transitions` marks so far, in all", 1),
    "train_loss": ("train loss", 1),
    "norm": ("norm of the weights, negative", -1),
    "gradient": ("norm of the gradient", 1),
    "defect": ("commutator defect", 1),
    "concentration": ("concentration in one frequency (knows the answer)", 1),
}


def follow(share: float, decay: float, keys: int, steps: Sequence[int]) -> list[list[Look]]:
    """Return the looks at each of `keys` runs, at `steps`; nothing in a look depends on later checkpoints."""
    train_pairs, test_pairs = split(share)
    runs: list[list[Look]] = [[] for _ in range(keys)]
    for step, every in zip(steps, train(share, decay, keys, steps), strict=True):
        for key, run in enumerate(runs):
            params = jax.tree.map(lambda leaf, key=key: leaf[key], every)
            seen = observe(params, train_pairs, test_pairs)
            told = {name: float(value) for name, value in seen.items()}
            estimate = lltc.estimate_llc(
                behavioral, params, train_pairs, localization=LOCALIZATION, key=key, **EFFORT
            )
            run.append(look_at(run, estimate, share=share, decay=decay, key=key, step=step, **told))
    return runs


def look_at(run: Sequence[Look], estimate: lltc.LLCEstimate, **told: Any) -> Look:
    """Return a look with what the curve of a run so far says of it."""
    steps, llc, llc_se = (
        [getattr(look, name) for look in run] + [last]
        for name, last in (("step", told["step"]), ("llc", estimate.llc), ("llc_se", estimate.llc_se))
    )
    changes = [change.delta_llc for change in lltc.find_transitions(steps, llc, llc_se)]
    return Look(
        status=estimate.status.name,
        llc=estimate.llc,
        llc_se=estimate.llc_se,
        rise=estimate.llc - min(llc),
        marked_rise=sum(change for change in changes if change > 0),
        **told,
    )


def groks(run: Run) -> int | None:
    """Return the step at which a run has generalised, None where it never does."""
    return next((look.step for look in run if look.test_accuracy >= GENERALISED), None)


def waiting(run: Run) -> list[Look]:
    """Return the looks at which a run knows its training pairs by heart, and little else as yet."""
    end = groks(run)
    return [
        look
        for look in run
        if look.train_accuracy >= MEMORISED
        and look.test_accuracy < UNKNOWING
        and (end is None or look.step < end)
    ]


def scored(name: str, look: Look) -> float:
    """Return a predictor at a look, with its sign."""
    return PREDICTORS[name][1] * getattr(look, name)


def wins(name: str, yes: Sequence[Run], no: Sequence[Run], place: int) -> np.ndarray:
    """Return `(yes, no)`: 1 where a predictor is larger in the one than in the other at one step, else 0.

    The step is that of the first (0) or last (-1) look at which the one of `yes` waits. Ties are ½; NaN is
    where the other is not waiting then. Most predictors grow with the steps, whatever becomes of a run.
    """
    table = np.full((len(yes), len(no)), np.nan)
    for (row, one), (column, other) in itertools.product(enumerate(yes), enumerate(no)):
        look = waiting(one)[place]
        for same in (rival for rival in waiting(other) if rival.step == look.step):
            table[row, column] = (1 + np.sign(scored(name, look) - scored(name, same))) / 2
    return table


def interval(pairs: np.ndarray) -> tuple[float, float]:
    """Return a 95 % interval of the mean of `wins`, by drawing runs anew."""
    chance, (rows, columns) = np.random.default_rng(0), pairs.shape
    draws = [
        np.nanmean(pairs[chance.integers(rows, size=rows)][:, chance.integers(columns, size=columns)])
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def alike(yes: Sequence[Run], no: Sequence[Run]) -> np.ndarray:
    """Return which pairs `(yes, no)` of runs have the same share and decay."""
    return np.array([[one[0][:2] == other[0][:2] for other in no] for one in yes])


def alarms(name: str, yes: Sequence[Run], no: Sequence[Run]) -> tuple[float, float, float]:
    """Return the share of `yes` with an alarm, that of `no`, and how many times later generalisation comes.

    An alarm is the first look above a limit that at most a tenth of the runs of `no` ever pass; the last
    number is the median over alarms.
    """
    highest = [max(scored(name, look) for look in waiting(run)) for run in no]
    limit = float(np.quantile(highest, 1 - FALSE_ALARMS, method="higher"))
    first = [next((look.step for look in waiting(run) if scored(name, look) > limit), None) for run in yes]
    leads = [(groks(run) or 0) / step for run, step in zip(yes, first, strict=True) if step is not None]
    wrong = float(np.mean(np.asarray(highest) > limit))
    return len(leads) / len(yes), wrong, float(np.median(leads)) if leads else float("nan")


def table(runs: Sequence[Run]) -> list[str]:
    """Return a line a predictor as Markdown."""
    waited = [run for run in runs if waiting(run)]
    yes = [run for run in waited if groks(run) is not None]
    no = [run for run in waited if groks(run) is None]
    count = np.isfinite(wins("llc", yes, no, -1)[alike(yes, no)]).sum()
    lines = [
        f"Of {len(runs)} runs {len(waited)} are looked at so; {len(yes)} generalise, {len(no)} do not.",
        f"At equal share and decay {count} pairs of either kind are looked at together at the last step.",
        "",
        "| predictor | AUROC, first look | last look | at equal settings | alarms | false ones | lead |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (words, _) in PREDICTORS.items():
        cells = []
        for pairs in (wins(name, yes, no, 0), last := wins(name, yes, no, -1)):
            low, high = interval(pairs)
            cells.append(f"{np.nanmean(pairs):.2f} ({low:.2f}–{high:.2f})")
        share, wrong, lead = alarms(name, yes, no)
        told = f"×{lead:.1f}" if share else "–"
        cells += [f"{np.nanmean(last[alike(yes, no)]):.2f}", f"{share:.0%}", f"{wrong:.0%}", told]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Follow the runs, score the predictors and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--looks", type=int, default=12)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    steps = sorted({*np.geomspace(60, arguments.steps, arguments.looks).astype(int).tolist()})
    began, runs = time.process_time(), []
    for share, decay in itertools.product(SHARES, DECAYS):
        runs += follow(share, decay, arguments.keys, steps)
        for run in runs[-arguments.keys :]:
            llc = " ".join(f"{look.llc:.0f}" for look in run)
            print(f"share {share} decay {decay} key {run[0].key}: groks {groks(run)}; λ̂ {llc}", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "early_warning.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Look._fields)
        writer.writerows(look for run in runs for look in run)
    lines = table(runs)
    minutes = (time.process_time() - began) / 60
    head = [
        "# Early warning of generalisation",
        "",
        f"`make bench-early-warning` ({describe_run()}; {minutes:.0f} CPU minutes)",
        "",
    ]
    (arguments.out / "early_warning.md").write_text("\n".join([*head, ABOUT, *lines]) + "\n")
    print("\n".join(lines))


ABOUT = """\
Networks with one hidden layer of squares learn addition modulo 17 on a share of the pairs, with several
decays of the weights. A run generalises when its test accuracy reaches 90 %. Looked at are checkpoints
at which train accuracy is 99 % and test accuracy below 50 %: will this run generalise? AUROC is the
probability that a predictor is larger in one that will than in one that will not *at the same step*, the
first or the last at which the one is looked at, with a 95 % interval over runs; below 0.5 it points the
other way. The directions in which predictors point were laid down beforehand. An *alarm* is the first
look above a limit that a tenth of the other runs pass at most, *lead* how many times later
generalisation comes than the alarm.

Published on other networks: AUROC 0.93 of a spectral residual on transformers (Wang, Ying & Kanamori
2026, arXiv:2605.08237), and a commutator defect that rises before generalisation (Xu 2026,
arXiv:2602.16967).
"""


if __name__ == "__main__":
    main()
