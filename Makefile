# Everything starts here. `make reproduce` and `make test` need nothing but make, a C library and Python 3.11 (or uv, which fetches it).
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
VENV := .venv
PYTHON := $(VENV)/bin/python
RUN := OMP_NUM_THREADS=1 $(PYTHON)
# uv from the PATH, or from a small environment of its own.
UV := $(shell command -v uv 2>/dev/null || echo $(VENV)-uv/bin/uv)
export UV_PYTHON_PREFERENCE ?= system

.PHONY: help env env-extraction env-use env-cluster env-dev openmm extract reproduce test test-slow test-openmm lint bench bench-loop bench-openmm bench-coverage faults fuzz lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(VENV)/.run  ## the environment of the main job
env-extraction: $(VENV)/.extraction  ## the same with what reads videos
env-cluster: $(VENV)/.cluster  ## the same with Ray and submitit (SLURM)
env-use: $(VENV)/.use  ## the same with what new videos need: extraction, explanation, export
env-dev: $(VENV)/.dev  ## the same with the tools for tests and lint

$(VENV)-uv/bin/uv:
	python3 -m venv $(VENV)-uv
	$(VENV)-uv/bin/python -m pip install --quiet --require-hashes -r requirements/uv.txt

$(PYTHON): | $(UV)
	$(UV) venv --quiet --python 3.11 $(VENV)

$(VENV)/.run: requirements/run.txt pyproject.toml | $(PYTHON)
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes -r requirements/run.txt
	$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.extraction: requirements/extraction.txt requirements/mediapipe.txt $(VENV)/.run
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes -r requirements/extraction.txt
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes --no-deps -r requirements/mediapipe.txt
	@touch $@

$(VENV)/.cluster: requirements/cluster.txt $(VENV)/.run
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes -r requirements/cluster.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/mediapipe.txt $(VENV)/.run
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes --no-deps -r requirements/mediapipe.txt
	@touch $@

openmm: $(VENV)/.openmm  ## OpenMMLab beside it, built from source once (5 to 15 minutes), and a run of every kind of model
	@$(RUN) -m seizurelit.extraction.smoke $(ARGS)

# What builds mmcv and xtcocotools lies apart, as it wants an older setuptools. uv keeps the built wheels by their hashes and these
# settings, so that one which was built for another torch is not taken. Networks run on a GPU all the same: of mmcv's operators they
# need the suppression of overlaps alone, and that runs on the CPU.
TOOLS := $(VENV)/openmm-build
$(VENV)/.openmm: requirements/openmm.txt requirements/openmm-nodeps.txt requirements/openmm-build.txt $(VENV)/.extraction
	@command -v c++ >/dev/null || { echo "make openmm: there is no C++ compiler (c++); install one, such as the package g++" >&2; exit 1; }
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes -r requirements/openmm.txt
	rm -rf $(TOOLS)
	$(UV) pip install --quiet --python $(PYTHON) --target $(TOOLS) --require-hashes --no-deps -r requirements/openmm-build.txt
	torch=$$($(PYTHON) -c 'import torch; print(torch.__version__)') && \
	PATH="$(abspath $(TOOLS))/bin:$$PATH" PYTHONPATH="$(abspath $(TOOLS))" MMCV_WITH_OPS=1 FORCE_CUDA=0 CUDA_VISIBLE_DEVICES= CFLAGS="-g0 -O1 -w" \
	$(UV) pip install --python $(PYTHON) --require-hashes --no-deps --no-build-isolation --no-binary mmcv --no-binary xtcocotools \
		--config-settings-package mmcv:torch=$$torch --config-settings-package mmcv:cuda=0 -r requirements/openmm-nodeps.txt
	@touch $@

$(VENV)/.use: requirements/use.txt requirements/mediapipe.txt $(VENV)/.run
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes -r requirements/use.txt
	$(UV) pip install --quiet --compile-bytecode --python $(PYTHON) --require-hashes --no-deps -r requirements/mediapipe.txt
	@touch $@

extract: $(VENV)/.extraction  ## videos to tensors (ARGS="--cohort cohort.csv --cache DIR")
	@$(RUN) -m seizurelit.extract $(ARGS)

reproduce: $(VENV)/.run  ## Table 1 over all folds (ARGS="--cache DIR --out runs/NAME" for your own cohort)
	@$(PYTHON) -m seizurelit.reproduce $(ARGS)

test: $(VENV)/.dev  ## the tests, without the slow ones
	$(RUN) -m pytest -q -n 2 -m "not slow and not openmm" $(ARGS)

test-slow: $(VENV)/.dev $(VENV)/.cluster  ## the tests that take minutes
	$(RUN) -m pytest -q -m slow $(ARGS)

test-openmm: $(VENV)/.dev $(VENV)/.openmm  ## the tests of OpenMMLab, which it installs
	$(RUN) -m pytest -q -m openmm $(ARGS)

lint: $(VENV)/.dev  ## style, types and import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.dev  ## speed and memory: networks, training, start, Table 1, extraction (ARGS=--all for every shape and fold: hours)
	$(RUN) -m bench $(ARGS)

bench-loop: $(VENV)/.dev $(VENV)/.cluster  ## the outer loop: workers, Ray, planning 10,000 jobs, growth with the cohort (20 minutes)
	$(RUN) -m bench.scheduling
	$(RUN) -m bench.scaling

bench-openmm: $(VENV)/.openmm  ## frames a second of OpenMMLab through our backend against its own inferencer
	$(RUN) -m bench.openmm $(ARGS)

faults: $(VENV)/.dev $(VENV)/.cluster  ## faults drawn at random into real runs (ARGS="--draws 200 --seed 0")
	$(RUN) -m bench.faults $(ARGS)

fuzz: $(VENV)/.dev  ## damaged and hostile files: one line each, never a traceback
	$(RUN) -m bench.fuzz $(ARGS)

bench-coverage: $(VENV)/.dev  ## coverage of the intervals, type I error of the tests, on simulated cohorts
	$(RUN) -m bench.coverage $(ARGS)

lock: | $(UV)  ## resolve pyproject.toml anew into requirements/*.txt, with hashes
	$(UV) pip compile --quiet --upgrade --python-version 3.11 --generate-hashes --no-header --constraints requirements/constraints.txt --extra dev --extra extraction --extra movement --extra tune --extra loggers --extra dashboard --extra explanation --extra onnx --output-file requirements/dev.txt pyproject.toml
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --constraints requirements/dev.txt --output-file requirements/run.txt pyproject.toml
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --constraints requirements/dev.txt --extra extraction --output-file requirements/extraction.txt pyproject.toml
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --constraints requirements/dev.txt --extra cluster --output-file requirements/cluster.txt pyproject.toml
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --constraints requirements/dev.txt --extra extraction --extra explanation --extra onnx --output-file requirements/use.txt pyproject.toml
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-deps --output-file requirements/mediapipe.txt requirements/mediapipe.in
	$(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --constraints requirements/dev.txt --output-file requirements/openmm.txt requirements/openmm.in
	for name in openmm-nodeps openmm-build; do $(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --no-annotate --no-deps --output-file requirements/$$name.txt requirements/$$name.in; done
	echo uv | $(UV) pip compile --quiet --python-version 3.11 --generate-hashes --no-header --output-file requirements/uv.txt -

clean:  ## remove the environment and everything that tools wrote (not runs/)
	rm -rf $(VENV) $(VENV)-uv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
