# Both `make demo` and `make test` set everything up on a machine that has Python 3.11+.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
STAMP := .venv/.set-up
# Tests with brokers and servers wait for them much of the time: one process more than there are cores.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)

.PHONY: setup demo run dev test soak lint bench lock clean

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock requirements-broker.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r requirements-broker.lock || echo "no noida-db for this platform: Kafka tests need Java and Maven"
	@touch $(STAMP)

demo: setup
	$(BIN)/etf demo

run: setup
	$(BIN)/etf run

dev: setup
	$(BIN)/python -m etf_pipeline.orchestration.instance $(BIN)/dagster dev -w workspace.yaml

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# In the order of the folders, the slowest first: what is begun last must not be what lasts longest.
# Compiled once: hundreds of processes are begun, and each would do so by itself where Python is told
# to write no byte code, or where a copy of .venv has lost the times of its files.
test: setup
	-@$(BIN)/python -m compileall -q -j 0 .venv etf_pipeline etf_pipeline_tests
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# Random portfolios against other solvers, cycles of chaos around the event log, and around several
# machines on one share; for hours with more of them: PROBLEMS=100000 CYCLES=5000 SEED=5
PROBLEMS ?= 10000
CYCLES ?= 200
MACHINE_CYCLES ?= 100
SEED ?= 1000
soak: setup
	OMP_NUM_THREADS=1 ETF_TEST_PROBLEMS=$(PROBLEMS) ETF_TEST_CYCLES=$(CYCLES) \
		ETF_TEST_SEED=$(SEED) $(BIN)/pytest -n $(JOBS) --dist load \
		etf_pipeline_tests/property/test_fuzz.py etf_pipeline_tests/integration/test_chaos.py
	OMP_NUM_THREADS=1 ETF_TEST_MACHINE_CYCLES=$(MACHINE_CYCLES) ETF_TEST_SEED=$(SEED) \
		$(BIN)/pytest etf_pipeline_tests/integration/test_chaos_machines.py

bench: setup
	$(BIN)/python -m etf_pipeline_tests.benchmarks

# The lock names no registry; `uv` asks the one that pip is set up for.
lock: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--no-emit-index-url --no-annotate --no-header --upgrade -o requirements.lock

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
