# One set-up path: scripts/environment makes each virtual environment and makes it anew when it is out of date.
# PYTHON=/path/to/python3 chooses the interpreter; ARGS="..." goes to deferq demo, pytest, the bench or the fuzzing.

PYTHON ?=
ARGS ?=
ONLY ?=

.PHONY: help demo test check bench proof proof-long fuzz clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo:  ## a small web application that defers work of every kind and accounts for it
	@scripts/environment --wheel .venv-demo "" $(PYTHON)
	@.venv-demo/bin/deferq demo $(ARGS)

test:  ## the tests, without the slow ones, in two processes (ARGS="-n 0 -k words")
	@scripts/environment .venv test,check,cli $(PYTHON)
	.venv/bin/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

check:  ## style, types and the direction of imports
	@scripts/environment .venv test,check,cli $(PYTHON)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy --strict src
	.venv/bin/lint-imports

bench:  ## measure deferq beside other task queues (ONLY=drain narrows)
	@scripts/environment .venv-bench bench $(PYTHON)
	.venv-bench/bin/python -m bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

proof:  ## every test on every Python found, the wheel, and the programme of seeds, kills and images
	python3 scripts/proof $(ARGS)

proof-long:  ## the same, and the programme for a night
	python3 scripts/proof --tier long --minutes 600 $(ARGS)

fuzz:  ## search for inputs that break a promise, 10 minutes for each target (ARGS="--target json --seconds 60")
	@scripts/environment .venv test,check,cli $(PYTHON)
	.venv/bin/python -m tests.fuzz $(ARGS)

clean:  ## remove environments, caches and results
	rm -rf .venv* .bench .fuzz .deferq dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
