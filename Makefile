# Dichroic's tasks. They need make, git, Python 3.11 or later with venv, and nothing installed by hand.
# Each environment (.venv-demo, .venv-train, .venv-test) is made from the lock, constraints.txt, and made anew when the lock or pyproject.toml changes.

PYTHON ?= python3
# The folder of models to serve, and where `make bundles` writes.
BUNDLES ?= bundles
# What `make bundles` trains: the recipes of the committed bundles.
RECIPES ?= cards cards_joint cards_semi domains dune-prior patch_spectrum patches_start scales_stripes
PYTEST_ARGS ?= --numprocesses auto --maxprocesses 4
# What builds the container image, and for which runtime: cpu or gpu.
ENGINE ?= $(firstword $(notdir $(shell command -v docker podman buildah)))
RUNTIME ?= cpu
TAG ?= dichroic:$(RUNTIME)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export BENTOML_DO_NOT_TRACK := True
export ORT_DISABLE_TELEMETRY := 1
# Where this is set, as in many containers, every process would compile all that it imports once more: 2 to 3 s for torch, as much for BentoML.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo loop frames home serve test lint types format bundles bench image bento protos lock hooks clean
.DELETE_ON_ERROR:

help: ## say what there is
	@echo "usage: make TASK [NAME=VALUE ...]"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'

# --no-compile: Python compiles the modules that are used when they are first used, which is sooner than compiling all of them.
define environment
@$(PYTHON) -c 'import sys; sys.exit("Dichroic needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
@echo "== $(@D): installing .[$(EXTRAS)] as locked in constraints.txt"
@rm -rf $(@D)
@$(PYTHON) -m venv $(@D)
@$(@D)/bin/python -m pip install --quiet --quiet --no-compile --constraint constraints.txt --editable '.[$(EXTRAS)]'
@touch $@
endef

.venv-demo/made: EXTRAS = serving-cpu,readers
.venv-train/made: EXTRAS = training
.venv-test/made: EXTRAS = dev
.venv-demo/made .venv-train/made .venv-test/made: pyproject.toml constraints.txt
	$(environment)

demo: .venv-demo/made ## start a server, send it an image, draw what it answers; IMAGE=file CHANNEL=quantity for your own
	@.venv-demo/bin/python examples/demo.py $(if $(IMAGE),--image "$$IMAGE") $(if $(CHANNEL),--channel "$$CHANNEL")

loop: .venv-demo/made ## a closed loop against a simulated microscope: suggest, measure, observe; drawn as it goes
	@.venv-demo/bin/python examples/closed_loop.py

frames: .venv-demo/made ## latent maps of a whole image at several window lengths, and from which length on damage can be told; drawn
	@.venv-demo/bin/python examples/frame_maps.py

home: .venv-demo/made ## a simulated silicon atom is brought home through graphene, step by step; drawn as it goes
	@.venv-demo/bin/python examples/atom_home.py

serve: .venv-demo/made ## serve BUNDLES (./bundles) on this machine until Ctrl-C: HTTP 3000, gRPC 50051
	@exec .venv-demo/bin/python -m services --bundles "$(BUNDLES)"

test: .venv-test/made ## what CI runs: ruff, mypy, import-linter, pytest
	@$(MAKE) --no-print-directory lint types
	@echo "== pytest"
	@.venv-test/bin/python -m pytest $(PYTEST_ARGS)

lint: .venv-test/made ## ruff and the import contracts
	@echo "== ruff check"
	@.venv-test/bin/python -m ruff check .
	@echo "== ruff format --check"
	@.venv-test/bin/python -m ruff format --check .
	@echo "== lint-imports"
	@.venv-test/bin/lint-imports

types: .venv-test/made ## mypy, strict
	@echo "== mypy"
	@.venv-test/bin/python -m mypy

format: .venv-test/made ## rewrite the code in ruff's format, with its safe fixes
	@.venv-test/bin/python -m ruff check --fix --quiet . || true
	@.venv-test/bin/python -m ruff format .

bundles: .venv-train/made ## train RECIPES (the demo's) into BUNDLES; DATA=folder holds the measured files that recipes name
	@for name in $(RECIPES); do \
	  echo "== recipes/$$name.toml"; \
	  $(if $(DATA),DICHROIC_DATA="$$DATA") .venv-train/bin/python -m training fit "recipes/$$name.toml" --out "$(BUNDLES)" || exit $$?; \
	done

bench: .venv-test/made ## measure the server on this machine
	@.venv-test/bin/python -m benchmarks.serving

image: ## build the container image with ENGINE (docker, podman or buildah); RUNTIME=gpu for the GPU one
	@test -n "$(ENGINE)" || { echo "none of docker, podman and buildah is installed" >&2; exit 2; }
	$(ENGINE) build --build-arg RUNTIME=$(RUNTIME) --tag $(TAG) .

# BentoML resolves the Bento's packages with uv, inside the Bento, where the lock lies too.
bento: .venv-demo/made ## build the service as a Bento into BentoML's store
	@.venv-demo/bin/python -m pip install --quiet --constraint constraints.txt uv
	UV_CONSTRAINT=constraints.txt .venv-demo/bin/python -m bentoml build

protos: .venv-test/made ## generate dichroic/v1 from protos/
	@.venv-test/bin/python tools/generate_stubs.py

# uv, because it writes one lock for every supported Python and system, with markers. It keeps what is locked: LOCK_ARGS=--upgrade for new versions.
lock: ## make constraints.txt anew from pyproject.toml
	@echo "== constraints.txt"
	@test -x .venv-lock/bin/uv || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv; }
	@.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --all-extras --annotation-style line --custom-compile-command "make lock" $(LOCK_ARGS) --output-file constraints.txt pyproject.toml

hooks: .venv-test/made ## run lint and types before every commit
	@.venv-test/bin/pre-commit install

clean: ## remove the environments and caches
	rm -rf .venv-demo .venv-train .venv-test .venv-lock .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dichroic.egg-info
