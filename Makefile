# SPDX-License-Identifier: Apache-2.0
# kubesched: the only entry point to learn. `make help` lists everything.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
TIMED   = began=$$(date +%s); $(1) && echo "           done in $$(($$(date +%s) - began)) s"
SOURCES := pyproject.toml CMakeLists.txt $(wildcard cmake/* core/CMakeLists.txt core/include/* core/src/*) kubesched/kernel/ffi_build.py

.DEFAULT_GOAL := help
.PHONY: help setup build fmt lint types imports check test test-core test-nightly demo bench fgd-table wheel clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/built  ## Make .venv with everything; fast when nothing changed

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "setup: needs Python 3.11 or later: make PYTHON=...")'
	@echo "setup 1/3: virtual environment in $(VENV)"
	@$(call TIMED,{ $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV); })
	@echo "setup 2/3: build tools"
	@$(call TIMED,$(PIP) install scikit-build-core cffi cmake ninja)
	@touch $@

$(VENV)/built: $(VENV)/installed $(SOURCES)
	@echo "setup 3/3: compiling the engine, installing packages (a minute or two the first time)"
	@export CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS); $(call TIMED,$(PIP) install --no-build-isolation --editable '.[dev]')
	@touch $@
	@echo "setup: done; run $(BIN)/kubesched --help"

build:  ## Compile the engine again, whatever changed
	@rm -f $(VENV)/built && $(MAKE) --no-print-directory setup

fmt: setup  ## Format Python and C
	@$(BIN)/ruff format -q . && $(BIN)/ruff check -q --fix .
	@$(BIN)/clang-format -i core/src/*.[ch] core/tests/*.[ch]

lint: setup  ## Format and style, changing nothing
	$(BIN)/ruff format --check -q .
	$(BIN)/ruff check -q .
	$(BIN)/clang-format --dry-run --Werror core/src/*.[ch] core/tests/*.[ch]

types: setup  ## mypy, strict
	$(BIN)/mypy

imports: setup  ## Import contracts
	$(BIN)/lint-imports --no-cache

test-core: setup  ## C tests under AddressSanitizer and UBSan (in CI with warnings as errors)
	@$(BIN)/cmake -S . -B build/asan -G Ninja "-DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja" -DCMAKE_BUILD_TYPE=Debug \
	  -DKS_TESTS=ON -DKS_SANITIZE=ON -DKS_WERROR=$(if $(CI),ON,OFF) --log-level=WARNING
	@$(BIN)/cmake --build build/asan -j $(JOBS)
	@$(BIN)/ctest --test-dir build/asan/core --output-on-failure -j $(JOBS)

test: setup test-core  ## Set-up and all tests, one command
	$(BIN)/python -m pytest -q -n $(JOBS)

check: lint types imports test  ## Everything that decides whether a change is acceptable

test-nightly: setup  ## The long property tests: 10^5 random decisions of each family and more (two hours)
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -q -n $(JOBS) -m "nightly or hypothesis"

demo: setup  ## Set-up, then replay a production GPU trace under six policies
	$(BIN)/kubesched replay openb --policy all --seeds 10 --out build/demo
	@echo "demo: pictures are in build/demo/"

bench: setup  ## Engine speed, verified, as a ratio to NumPy
	$(BIN)/kubesched bench engine --nodes 5000
	$(BIN)/kubesched bench engine --nodes 1000000 --placements 1000000

fgd-table: setup  ## Repeat all 1,020 published runs and write docs/explanation/fgd-table.md
	$(BIN)/python bench/fgd_table.py

wheel: setup  ## Build a wheel into dist/
	$(PIP) wheel --no-deps --wheel-dir dist .

clean:  ## Remove what was built
	rm -rf build dist $(VENV)
