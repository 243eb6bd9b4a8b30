# Voltyard. `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
HOST ?= 127.0.0.1
DATA_DIR ?= var
DEMO ?= 1
WORKERS ?= 2
SEED ?= 1
RUNS ?=

.PHONY: help run test check bench faults lock clean

help: ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

# The runtime environment: made once, again when the lock changes. uv is used where it is present.
$(VENV)/.runtime: requirements/runtime.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Voltyard needs Python 3.11 or newer ($(PYTHON) is `$(PYTHON) -V`)."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing. Install the package python3-venv."; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) …"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing packages (about two minutes the first time) …"
	@if command -v uv >/dev/null 2>&1; then uv pip install -q -p $(BIN)/python --require-hashes -r requirements/runtime.txt; \
	  else $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/runtime.txt; fi
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	@echo "Installing what tests and checks need …"
	@if command -v uv >/dev/null 2>&1; then uv pip install -q -p $(BIN)/python --require-hashes -r requirements/dev.txt; \
	  else $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt; fi
	@touch $@

run: $(VENV)/.runtime ## start Voltyard with a demo fleet (PORT, HOST, DATA_DIR, DEMO=0 for an empty installation)
	@DATA_DIR="$(DATA_DIR)" DEMO="$(DEMO)" exec $(BIN)/python manage.py serve --host "$(HOST)" --port "$(PORT)" --next-port --migrate

test: $(VENV)/.dev ## run every test (parts that need PostgreSQL, Redis or Chromium are reported where absent)
	@$(BIN)/python -m pytest -n $(WORKERS) -q $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import contracts, migrations, dependency audit
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/djlint --lint --quiet templates
	$(BIN)/mypy .
	$(BIN)/lint-imports
	DATA_DIR=$$(mktemp -d) $(BIN)/python manage.py makemigrations --check --dry-run
	DATA_DIR=$$(mktemp -d) $(BIN)/python manage.py check
	@.ci/audit $(BIN)

bench: $(VENV)/.dev ## benchmarks as a table (at most nine minutes)
	@$(BIN)/python manage.py bench_ocpp

faults: $(VENV)/.dev ## long harnesses: kill points, fuzz, generated histories (SEED, RUNS; resumable)
	@SEED=$(SEED) RUNS=$(RUNS) $(BIN)/python -m tests.faults

lock: ## write the hash-pinned locks anew (needs uv)
	for f in runtime dev; do uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --python-version 3.11 -q requirements/$$f.in -o requirements/$$f.txt; done

clean: ## remove the environment and all local data
	rm -rf $(VENV) var
