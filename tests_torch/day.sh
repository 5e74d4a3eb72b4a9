#!/usr/bin/env bash
# A torch user's day: train where PyTorch is, sweep where JAX alone is, read the reports, sweep once more.
set -euo pipefail
cd "$(dirname "$0")/.."
day=build/torch-day
rm -rf "$day"
export XDG_CACHE_HOME="$PWD/$day/cache"
.ci/torch python tests_torch/train_gpt.py "$day"
.ci/torch python -m lltc.export train_gpt:make_gpt "$day/gpt.pt2" --example int64:16
# Before its end a network is at no minimum of its loss, but at one of its distance from itself.
cat >"$day/network.py" <<'PYTHON'
from pathlib import Path

import numpy as np

import lltc

here = Path(__file__).parent
plain = lltc.behavioral(lltc.models.torch_exported(here / "gpt.pt2", "causal_lm"), "kl")
trainer = lltc.behavioral(lltc.models.hugging_face(here / "gpt2"), "kl")
data = np.load(here / "tokens.npy")[:256]
PYTHON
export PYTHONPATH="$PWD:$PWD/$day" JAX_PLATFORMS=cpu
sweep() {
  .venv/bin/lltc sweep "$day/$1" --model "network:$1" --data network:data \
    --num-chains 4 --num-draws 50 --num-warmup 100 --out "$day/$2"
}
sweep plain first
sweep plain second
sweep trainer third
for out in first third; do
  .venv/bin/lltc report "$day/$out"
done
.venv/bin/python - "$day" <<'PYTHON'
import sys

import numpy as np

import lltc

first, second, third = (lltc.Sweep.open(f"{sys.argv[1]}/{name}") for name in ("first", "second", "third"))
for name in set(first.curve.data_vars) - {"seconds"}:
    np.testing.assert_array_equal(first.curve[name], second.curve[name], err_msg=f"{name} differs between two sweeps")
np.testing.assert_array_equal(first.estimate(0).draws, second.estimate(0).draws)
for sweep in (first, third):
    curve = sweep.curve
    assert (curve.llc > 0).all() and np.isfinite(curve.llc).all()
    print(dict(zip(curve.step.values.tolist(), curve.llc.values.round(1).tolist(), strict=True)), curve.status.values)
PYTHON
