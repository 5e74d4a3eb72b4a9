#!/usr/bin/env bash
# The measurements of benchmarks/gpu.py on a machine without a network that has Python and JAX for its GPU:
#   benchmarks/gpu.sh prepare     here: what such a machine may lack, into build/gpu-packages, to be carried along
#   benchmarks/gpu.sh [OUT]       there: measure, in under twelve minutes, and write OUT/gpu.md
set -euo pipefail
cd "$(dirname "$0")/.."
packages=build/gpu-packages

if [ "${1:-}" = prepare ]; then
  rm -rf "$packages"
  .venv/bin/uv pip install -q --python .venv --target "$packages" --no-deps \
    arviz-base arviz-stats xarray xarray-einstats h5netcdf lazy-loader platformdirs typing-extensions
  exit
fi
out=${1:-benchmarks/results}
export PYTHONPATH="$PWD:$PWD/$packages${PYTHONPATH:+:$PYTHONPATH}" XLA_PYTHON_CLIENT_PREALLOCATE=false
timeout 700 python3 benchmarks/gpu.py --out "$out"
