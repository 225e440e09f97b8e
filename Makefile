# Every target installs what it needs into .venv first. PYTHON names the interpreter that makes it (3.11 to 3.13);
# CPU=1 installs torch and ONNX Runtime without CUDA; a .venv that was made so stays so.
PYTHON ?= python3.11
VENV := .venv
CPU ?= $(wildcard $(VENV)/cpu.lock)
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
MLFLOW := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/mlflow
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
# A lock for every platform and Python that pyproject.toml allows.
LOCK := $(BIN)/uv pip compile -q --universal --python-version 3.11 --no-annotate --no-header
PIP_AUDIT := pip-audit==2.10.1
CYCLONEDX := cyclonedx-bom==7.5.0
TORCH := $(shell grep '^torch==' requirements.lock)
ARGS ?=
# One file of tests per core, four at most; those with slow tests first (tests/conftest.py).
SHARED_OUT := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

export TOKENIZERS_PARALLELISM := false

.PHONY: install spark mpnet run test test-fast test-attacks test-reliability soak audit sbom check format bench ui serve bento image lock docs pictures clean help

run: $(INSTALLED)  ## the whole chain on the bundled sample: teacher, odd, even, LoRA, compare, export, promote, package
	$(MLFLOW) run . -e main --env-manager local $(ARGS)

test: $(INSTALLED)  ## all tests that this machine can run
	$(BIN)/python -m pytest $(SHARED_OUT) $(ARGS)

test-fast: $(INSTALLED)  ## the tests that take seconds
	$(BIN)/python -m pytest $(SHARED_OUT) -m "not slow and not browser" $(ARGS)

test-attacks: $(INSTALLED)  ## the attacks on the service at full size; `make test` runs a few of each
	EVENODD_ATTACKS=full $(BIN)/python -m pytest -n 0 -m attacks tests/attacks $(ARGS)

soak: $(INSTALLED)  ## an hour of load on the service; fails on an error or on memory that grows
	$(BIN)/python -m benchmarks.soak $(ARGS)

test-reliability: $(INSTALLED)  ## kills, damaged files, a server that is gone, two commands at once
	EVENODD_RELIABILITY=full $(BIN)/python -m pytest $(SHARED_OUT) -m reliability $(ARGS)

check: $(INSTALLED)  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## apply lint fixes and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)  ## make .venv

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
ifeq ($(CPU),)
	$(PIP) "$(TORCH)"
	$(PIP) -r requirements.lock
else
	$(PIP) "$(TORCH)+cpu" || { $(PIP) uv && $(BIN)/uv pip install -q --python $(BIN)/python --torch-backend cpu "$(TORCH)"; }
	sed -E '/^onnxruntime==/d; s/^onnxruntime-gpu==([^ ]+).*/onnxruntime==\1/' requirements.lock > $(VENV)/cpu.lock
	$(PIP) -r $(VENV)/cpu.lock
endif
	$(PIP) --no-deps -e .
	touch $@

bench: $(INSTALLED)  ## speeds compared with other tools, in one run each
	$(BIN)/python -m benchmarks $(ARGS)

ui: $(INSTALLED)  ## the MLflow UI
	$(MLFLOW) ui $(ARGS)

serve: $(INSTALLED)  ## the service and its page on http://localhost:3000; MODEL=models:/NAME@champion or a bundle's folder
	$(BIN)/python -m pipelines serve $(if $(MODEL),model=$(MODEL)) $(ARGS)

bento: $(INSTALLED)  ## build the Bento of the champion
	$(MLFLOW) run . -e package --env-manager local $(ARGS)

image: $(INSTALLED)  ## container images of the newest Bento
	PATH="$(CURDIR)/$(BIN):$$PATH" sh deploy/image.sh $(ARGS)

mpnet: $(INSTALLED)  ## download the built-in encoder of 12 layers (404 MB), for -P teacher=mpnet
	$(BIN)/python -m evenodd.encoders.mpnet

lock: $(INSTALLED)  ## update requirements.lock; versions stay where they are allowed, UPGRADE=1 takes the newest
	$(LOCK) $(if $(UPGRADE),--upgrade) --extra ray --extra docs --extra dev -o requirements.lock pyproject.toml
	sed -i -E '/^(cuda-|triton==|nvidia-.*sys_platform)/d' requirements.lock  # torch names its own CUDA libraries

audit: $(INSTALLED)  ## known vulnerabilities of the locked packages; a package that PyPI cannot be asked about is a failure
	$(BIN)/uvx $(PIP_AUDIT) --strict --disable-pip --no-deps -r requirements.lock

sbom: $(INSTALLED)  ## what the lock holds as a software bill of materials (CycloneDX) in evenodd.cdx.json
	$(BIN)/uvx --from $(CYCLONEDX) cyclonedx-py requirements requirements.lock --of JSON -o evenodd.cdx.json

spark: $(INSTALLED)  ## add pyspark, 0.5 GB, for the tests on a local Spark; they need Java 17 as well
	$(PIP) pyspark==4.1.1

docs: $(INSTALLED)  ## the API reference in docs/api
	$(BIN)/python docs/reference.py

pictures: $(INSTALLED)  ## take the pictures in docs/pictures from a run, with chromium
	$(BIN)/python -m docs.pictures $(ARGS)

clean:  ## remove checkpoints and caches; runs, models, bundles, reports and studies stay
	rm -rf .evenodd/cache .evenodd/fits .evenodd/trials .evenodd/locks .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12
