# Every daily act by one word. `make` alone shows them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
BUILD := build/release
STAMP := build/.setup-$(shell cat tools/setup.sh tools/apt-packages.txt pyproject.toml 2>/dev/null | sha256sum | cut -c1-12)
DATA ?= data
PORT ?= 8783

.PHONY: help setup build run serve test test-long check format bench fuzz docs wheel clean
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 12

setup: $(STAMP) ## install what is missing (apt for the compiler and libraries, .venv/ for the rest)
$(STAMP):
	@bash tools/timed.sh setup bash tools/setup.sh $(PYTHON)
	@mkdir -p build && rm -f build/.setup-* && touch $@

build: setup ## compile the server and the extension into the checkout
	@bash tools/timed.sh build bash tools/build.sh

run: build ## start the server with the examples on real data, show what it did, keep serving (ONCE=1: stop after it)
	@$(BIN)/python tools/run_examples.py --data $(DATA) --port $(PORT) $(if $(ONCE),--once)

serve: build ## start the server on the data folder
	@exec $(BIN)/fused serve --data $(DATA) --port $(PORT)

test: build ## every test, a tenth of the long counts
	@bash tools/timed.sh test bash tools/test.sh

test-long: build ## whole counts, sanitizers, wheel
	@FUSED_TEST_LONG=1 bash tools/timed.sh test-long bash tools/test.sh

check: setup ## formatting, lint, types, layout
	@bash tools/check.sh

format: setup ## rewrite the code in the agreed format
	@git ls-files 'core/*.cpp' 'core/*.hpp' 'fuzz/*.cpp' 'bench/*.cpp' | xargs -r clang-format-19 -i
	@$(BIN)/ruff format python tests tools bench examples && $(BIN)/ruff check --fix python tests tools bench examples

bench: build ## ours beside the peers, with the ratio
	@$(BIN)/python bench/run.py $(BENCH)

fuzz: setup ## each fuzz target for SECONDS (default 60)
	@bash tools/fuzz.sh $${SECONDS_EACH:-60}

docs: build ## regenerate the reference pages that are made from the program
	@bash tools/docs.sh

wheel: build ## dist/*.whl, installable on a machine without compiler
	@$(BIN)/python -m pip wheel --no-build-isolation --no-deps -w dist .

clean: ## remove what build made
	rm -rf build dist python/fused/_native*.so python/fused/bin
