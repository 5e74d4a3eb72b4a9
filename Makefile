# Every target sets up `.venv` by itself; `make demo` and `make test` need git, make and some CPython >= 3.12.
PYTHON := .venv/bin/python
export UV_COMPILE_BYTECODE = 1
export JAX_PLATFORMS ?= cpu
export KERAS_BACKEND = jax

.PHONY: demo test check setup format constraints bench-accuracy bench-accuracy-quick bench-curves bench-first bench-memory bench-peers bench-reading bench-refinement bench-profile bench-speed bench-speed-gpu bench-speed-peers bench-time bench-transitions clean

demo: .venv/ready
	.venv/bin/lltc demo --out lltc-demo

test: .venv/ready
	$(PYTHON) -m pytest -n 2
	$(PYTHON) -m pytest tests/test_speed.py

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
	uv pip compile pyproject.toml --group dev --universal --python-version 3.12 --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o constraints.txt

bench-accuracy: .venv/ready
	$(PYTHON) benchmarks/accuracy.py

bench-accuracy-quick: .venv/ready
	$(PYTHON) benchmarks/accuracy.py --quick --out build/benchmarks

bench-curves: .venv/ready
	$(PYTHON) benchmarks/cost_curves.py

bench-first: .venv/ready
	$(PYTHON) benchmarks/first_result.py

bench-memory: .venv/ready
	$(PYTHON) benchmarks/memory.py

bench-peers: .venv/ready
	$(PYTHON) benchmarks/peers.py

bench-reading: .venv/ready
	$(PYTHON) benchmarks/reading_costs.py

bench-refinement: .venv/ready
	$(PYTHON) benchmarks/refinement.py

bench-profile: .venv/ready
	$(PYTHON) benchmarks/profile_step.py

bench-speed: .venv/ready
	$(PYTHON) benchmarks/speed.py

bench-speed-gpu: .venv/ready
	JAX_PLATFORMS= $(PYTHON) benchmarks/speed.py --gpu

bench-speed-peers: .venv/ready
	$(PYTHON) benchmarks/speed_peers.py

bench-time: .venv/ready
	$(PYTHON) benchmarks/time_to_error.py

bench-transitions: .venv/ready
	$(PYTHON) benchmarks/transitions.py

clean:
	rm -rf .venv lltc-demo .pytest_cache .ruff_cache
