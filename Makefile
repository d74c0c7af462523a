# make demo    the embedded demo: install, run every stage, print the result
# make test    the same set-up and the whole test suite
# make mlflow  browse the runs on 127.0.0.1
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CORES ?= all
MLFLOW_PORT ?= 5000
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES)
# Installed without bytecode, since few of its 25,000 modules are used: the first import of a module keeps it.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo demo-sweep test lint mlflow clean setup

demo: $(STAMP)
	$(SNAKEMAKE)
	@$(MAKE) --no-print-directory results/report.html
	@$(BIN)/python -m sparsemill.summary

# The demo's ablations: 4 pre-trainings and 12 fine-tunings more.
demo-sweep: $(STAMP)
	$(SNAKEMAKE) --keep-going --configfile config/overlays/demo_sweep.yaml
	$(BIN)/snakemake --cores 1 --configfile config/overlays/demo_sweep.yaml --report results/report.html --report-stylesheet workflow/report/report.css --quiet all
	@$(BIN)/python -m sparsemill.tracking.report results/report.html
	@$(BIN)/python -m sparsemill.summary

# Snakemake's; named here because `make -n` asks for it where there is none yet.
results/verified/manifest.json:

results/report.html: results/verified/manifest.json
	$(BIN)/snakemake --cores 1 --report $@ --report-stylesheet workflow/report/report.css --quiet all
	@$(BIN)/python -m sparsemill.tracking.report $@

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check src tests workflow benchmarks
	$(BIN)/ruff format --check src tests workflow benchmarks
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/python -m sparsemill.study.reference --check

mlflow: $(STAMP)
	@echo "Open http://127.0.0.1:$(MLFLOW_PORT)/#/experiments?workflowType=machine_learning"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui \
		--backend-store-uri sqlite:///results/mlflow/mlflow.db --host 127.0.0.1 --port $(MLFLOW_PORT) --workers 1

clean:
	rm -rf $(filter-out results/README.md,$(wildcard results/*)) .snakemake

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "sparsemill needs Python 3.11 to 3.13: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV): 3.5 GB, 2 to 4 minutes ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --no-compile -c requirements.lock -e '.[demo,dev]'
	@touch $@
