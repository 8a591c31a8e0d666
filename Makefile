# The targets below are the supported ones; `make` alone lists them. `PYTHON=python3.12 make build` chooses the Python.
# The distribution's Python first, where it is new enough: it starts a millisecond faster than one built without profiling.
PYTHON ?= $(shell for python in /usr/bin/python3 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && exit; \
	done; echo python3)
VENV   := .venv
BIN    := $(VENV)/bin
# The build must not depend on what the caller's shell says about Python.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV

INIT     := src/libcontainer/_bin/init
LAUNCHER := $(BIN)/youki
NINJA    := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ninja
PYTEST   := $(BIN)/python -m pytest
FILE_SYSTEM := lifecycle mounts mount_options propagation rootfs devices masks cgroup_mounts idmapped_mounts
CHECKED  := src tests tools bench examples
C_FILES   = $(wildcard src/libcontainer/init/*.[ch] src/youki/*.c tests/*/*.[ch] tests/*/c/*.[ch] bench/*.[ch] examples/*/*.[ch])

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help packages engines native build demo test test-unit test-integration test-attack test-packaging
.PHONY: test-enosys test-clients test-vm fuzz sanitize bench lint format wheel clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

packages:
	@tools/bootstrap $(PYTHON)

engines: $(VENV)/.ready
	@tools/bootstrap $(PYTHON) clients
	@$(BIN)/python -c 'import grpc_tools, websockets' 2>/dev/null || $(BIN)/python tools/develop.py clients || \
		echo 'make: grpcio-tools and websockets could not be installed; done without: tests of the CRI plugin'

$(VENV)/.ready: pyproject.toml tools/develop.py | packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "make: Python 3.11 or later is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/develop.py
	@touch $@

build/build.ninja: | $(VENV)/.ready
	@tools/configure build -Ddevelopment=true

# Ninja knows what has changed; the copies are made only then, so that nothing that depends on them is made again.
native: build/build.ninja
	@$(NINJA) -C build --quiet
	@cmp -s build/src/libcontainer/init/init $(INIT) || install -D -m 755 build/src/libcontainer/init/init $(INIT)
	@cmp -s build/youki $(LAUNCHER) || install -m 755 build/youki $(LAUNCHER)

build: packages $(VENV)/.ready native ## Make the virtual environment .venv and compile the C programs into it

demo: build ## Show a container's whole life, on this machine's own files
	@$(BIN)/python tools/demo.py

# As root `test` and `test-vm` include tests with engines, which need them installed.
test: build $(if $(filter 0,$(shell id -u)),engines) ## Run every test that this machine can run
	@$(PYTEST) tests

test-unit: build ## Run the tests that need no privilege
	@$(PYTEST) tests/unit

test-integration: build ## Run the tests that make real containers
	@$(PYTEST) tests/integration

test-attack: build ## Run the tests that attack the runtime from inside a container
	@$(PYTEST) tests/attack

test-enosys: build ## Run the tests of the file system as on an older kernel, without the newer system calls
	@$(BIN)/python -m tests.tools.enosys all $(PYTEST) -q -rfE $(addprefix tests/integration/test_,$(addsuffix .py,$(FILE_SYSTEM)))

test-clients: build engines ## Run the tests in which podman, containerd and Docker call the runtime
	@TEST_CLIENTS=all $(PYTEST) tests/clients

test-vm: build $(if $(filter 0,$(shell id -u)),engines) ## Run the tests in virtual machines that have cgroup v2 only, and that systemd manages
	@tools/bootstrap $(PYTHON) vm
	@TEST_VM=all $(PYTEST) tests/vm

test-packaging: build ## Build the wheel and the source release, install them elsewhere, and look at them
	@$(PYTEST) tests/packaging

# Sanitizers need a dynamic C library: clang, which brings libFuzzer, or else the machine's own cc.
build-sanitize/build.ninja: | $(VENV)/.ready
	@CC=$$(command -v clang || echo cc) tools/configure build-sanitize -Dfuzz=true

sanitize: packages build-sanitize/build.ninja ## Build the fuzzer of init's plan decoder, with sanitizers
	@$(NINJA) -C build-sanitize --quiet plan_fuzz

fuzz: sanitize ## Fuzz init's plan decoder for FUZZ_SECONDS (60)
	@$(BIN)/python tools/fuzz.py $(or $(FUZZ_SECONDS),60)

bench: build ## Measure against runc, crun and the kernel's own floor
	@$(BIN)/python -m bench

lint: build ## Check style, types, and that generated files are fresh
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy src
	@if command -v clang-format >/dev/null; then clang-format --dry-run -Werror $(C_FILES); \
		else echo 'lint: clang-format is not installed; C was not checked'; fi
	@if [ -e src/libcontainer/plan/generate.py ]; then $(BIN)/python -m libcontainer.plan.generate --check; fi
	@if [ -e tools/api_reference.py ]; then $(BIN)/python tools/api_reference.py --check; fi

format: build ## Mend what lint can mend
	-$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)
	@if command -v clang-format >/dev/null; then clang-format -i $(C_FILES); fi

wheel: build ## Build the wheel and the source release to publish, into dist/
	@tools/release

clean: ## Remove everything that make has made
	rm -rf build build-sanitize dist $(VENV) .mesonpy-* .pytest_cache .mypy_cache .ruff_cache .hypothesis $(INIT)
	find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +
