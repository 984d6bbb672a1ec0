# kubesched: the only entry point to learn. `make help` lists everything.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
SOURCES := pyproject.toml CMakeLists.txt $(wildcard cmake/* core/CMakeLists.txt core/include/* core/src/*) kubesched/kernel/ffi_build.py

.DEFAULT_GOAL := help
.PHONY: help setup build fmt lint types imports check test test-core test-nightly demo parity bench fgd-table wheel clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: $(VENV)/built  ## Make .venv with everything; fast when nothing changed

$(VENV)/installed: pyproject.toml
	@echo "setup 1/3: virtual environment in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setup 2/3: packages (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check scikit-build-core cffi cmake ninja
	@touch $@

$(VENV)/built: $(VENV)/installed $(SOURCES)
	@echo "setup 3/3: compiling the engine, installing kubesched with its tools"
	@CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
	@touch $@
	@echo "setup: done; run $(BIN)/kubesched --help"

build:  ## Compile the engine again, whatever changed
	@touch core/CMakeLists.txt && $(MAKE) --no-print-directory setup

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

test-core: setup  ## C tests under AddressSanitizer and UBSan, warnings as errors
	@$(BIN)/cmake -S . -B build/asan -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=Debug -DKS_TESTS=ON -DKS_SANITIZE=ON -DKS_WERROR=ON -Wno-dev --log-level=WARNING
	@$(BIN)/cmake --build build/asan -j $(JOBS)
	@cd build/asan/core && $(CURDIR)/$(BIN)/ctest --output-on-failure -j $(JOBS)

test: setup test-core  ## Set-up and all tests, one command
	$(BIN)/python -m pytest -q -n $(JOBS)

check: lint types imports test  ## Everything that decides whether a change is acceptable

test-nightly: setup  ## The long property tests (minutes)
	$(BIN)/python -m pytest -q -m nightly

demo: setup  ## Set-up, then replay a production GPU trace under six policies
	$(BIN)/kubesched replay openb --policy all --seeds 10 --out build/demo
	@echo "demo: pictures are in build/demo/"

bench: setup  ## Engine speed, verified, as a ratio to NumPy
	$(BIN)/kubesched bench engine --nodes 5000
	$(BIN)/kubesched bench engine --nodes 1000000 --placements 1000000

fgd-table: setup  ## Repeat all 1,020 published runs and write docs/explanation/fgd-table.md
	$(BIN)/python bench/fgd_table.py

wheel: setup  ## Build a wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## Remove what was built
	rm -rf build dist $(VENV)
