.DEFAULT_GOAL := help
.PHONY: help setup sweep ui check test test-slow test-exhaustive test-gpu faults bench bench-quick docs screenshots lint format lock clean
PYTHON ?= python3
ARGS ?=

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready  ## Create .venv with the locked packages, unless it is up to date

sweep: .venv/.ready  ## Run a sweep, the digits demo by default: make sweep ARGS="experiment=digits seed=1"
	.venv/bin/python -m runner sweep $(ARGS)

ui: .venv/.ready  ## Review sweeps in the MLflow UI on 127.0.0.1
	.venv/bin/python -m runner ui $(ARGS)

check: .venv/.ready  ## Check style, English, types and the fast tests, in less than a minute
	.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/python .ci/english.py
	.venv/bin/mypy & types=$$!; .venv/bin/python -m pytest tests/unit tests/property --hypothesis-profile few; \
		tests=$$?; wait $$types && exit $$tests

test: .venv/.ready  ## Run the tests, without those of the next three targets: make test ARGS=tests/unit
	.venv/bin/python -m pytest -m "not slow and not exhaustive and not gpu" $(ARGS)

test-slow: .venv/.ready  ## Run the tests that repeat at length what shorter ones guard
	.venv/bin/python -m pytest -m "slow and not exhaustive and not gpu" $(ARGS)

test-exhaustive: .venv/.ready  ## Run the tests that go through every kind and moment of which test-slow has some
	.venv/bin/python -m pytest -m "exhaustive and not gpu" $(ARGS)

test-gpu: .venv/.ready  ## Run the tests that need an NVIDIA GPU; skips them with the reason elsewhere
	.venv/bin/python -m pytest tests/gpu -m gpu -n 0 -rs $(ARGS)

faults: .venv/.ready  ## Inject faults, compare with an undisturbed sweep, print a table: make faults ARGS="--quick"
	PYTHONPATH=tests .venv/bin/python -m faults $(ARGS)

bench: .venv/.ready  ## Measure the runner beside what else there is, two hours: make bench ARGS="W1 W7"
	.venv/bin/python -m benchmarks $(ARGS)

bench-quick: .venv/.ready  ## Guard the most important ratios, three to four minutes
	.venv/bin/python -m benchmarks --quick

docs: .venv/.ready  ## Build the pages and the library's API into site/, strictly and without network
	rm -rf site
	.venv/bin/python -m sphinx --fail-on-warning --keep-going --quiet -c docs/site -d site/.doctrees . site $(ARGS)

screenshots: .venv/.ready  ## Take the pictures of docs/images: a sweep, and MLflow's pages of it in Chromium
	.venv/bin/python docs/site/screenshots.py $(ARGS)

lint: .venv/.ready  ## Check style, English and types, changing nothing
	.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/python .ci/english.py && .venv/bin/mypy

format: .venv/.ready  ## Rewrite the code in the project's style
	.venv/bin/ruff check --fix && .venv/bin/ruff format

lock: .venv/.ready  ## Resolve the dependencies of pyproject.toml into requirements.lock: make lock ARGS=--upgrade
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		--extra demo --extra bench --extra docs --extra postgres --extra dev $(ARGS) pyproject.toml -o requirements.lock

clean:  ## Remove caches and builds; .venv, sweeps/ and mlflow.db stay
	rm -rf dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The stamp is written last, by renaming the mark of an unfinished set-up: if that mark is found, start again.
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit("Python 3.11 or later is needed, $(PYTHON) is %d.%d; try make setup PYTHON=python3.12" % v if v < (3, 11) else 0)'
	@if test -e .venv/.unfinished; then rm -rf .venv; fi; mkdir -p .venv && touch .venv/.unfinished
	@echo "$$(date +%T) setting up .venv, once: TensorFlow, Ray, MLflow, $$(grep -c == requirements.lock) packages in all"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	@echo "$$(date +%T) downloading and compiling them: one to four minutes on two cores, longer if the network is slow"
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode -r requirements.lock
	@.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -e .
	@echo "$$(date +%T) .venv is ready"
	@mv .venv/.unfinished $@
