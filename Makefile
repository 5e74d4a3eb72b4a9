# Every target sets up `.venv` by itself; `make demo` and `make test` need git, make and some CPython >= 3.12.
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest -n 2 --dist loadscope --no-loadscope-reorder --max-worker-restart 2
# No Python package brings a browser: without one the tests that open pages are left out, and pytest counts them.
WHOLE := $(PYTEST) $(if $(shell command -v chromium),,-m "not browser")
export UV_COMPILE_BYTECODE = 1
export JAX_PLATFORMS ?= cpu
export KERAS_BACKEND = jax

.PHONY: demo test test-all test-isa test-keys fuzz check setup format constraints docs wheels clean

demo: .venv/ready
	.venv/bin/lltc demo --out lltc-demo

# What a developer runs, compiled in haste; `test-all` is what CI runs, compiled as users' programs are.
test: .venv/ready
	$(PYTEST) -m "not process and not notebook and not browser and not reference"

test-all: .venv/ready
	$(WHOLE)
	$(PYTHON) -m pytest tests/test_speed.py

# The suite as three kinds of processors round.
test-isa: .venv/ready
	XLA_FLAGS=--xla_cpu_max_isa=SSE4_2 $(WHOLE)
	XLA_FLAGS=--xla_cpu_max_isa=AVX2 $(WHOLE)
	$(WHOLE)

# What draws at random, with other keys than the default ones.
test-keys: .venv/ready
	for key in 1 2 3 4 5; do $(PYTEST) -m statistical --base-key $$key || exit 1; done

# Every reader of foreign files, on inputs that Atheris makes up; what is found lies in build/fuzz.
FUZZ_SECONDS ?= 300
fuzz: .venv/ready
	$(PYTHON) -m tests.fuzz --seconds $(FUZZ_SECONDS)

check: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/pyright

format: .venv/ready
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt .ci/setup
	@bash .ci/setup
	@touch $@

constraints:
	PATH="$$PATH:.venv/bin" uv pip compile pyproject.toml --group dev --group docs --group release --universal --python-version 3.12 --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o constraints.txt

# `make bench-NAME` runs benchmarks/NAME.py, or what stands for it here; ARGS="--keys 1" adds arguments.
bench_accuracy-quick := accuracy.py --quick --out build/benchmarks
bench_curves := cost_curves.py
bench_early-warning := early_warning.py
bench_first := first_result.py
bench_profile := profile_step.py
bench_reading := reading_costs.py
bench_one-module := one_module.py
bench_speed-peers := speed_peers.py
bench_time := time_to_error.py

bench-gpu: export JAX_PLATFORMS :=

bench-%: .venv/ready
	$(PYTHON) benchmarks/$(or $(bench_$*),$*.py) $(ARGS)

docs: .venv/ready
	.ci/docs

wheels: .venv/ready
	.ci/wheels

clean:
	rm -rf .venv lltc-demo .pytest_cache .ruff_cache
