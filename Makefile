# `make help` lists the targets. Everything is installed into .venv, what oracle compares with into .venv-oracle, what builds
# the site into .venv-docs; a second run is quick.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ORACLE := .venv-oracle
SITE := .venv-docs
PEERS := "torch-uncertainty==0.13.*" "mapie>=1,<2" "adversarial-robustness-toolbox>=1.20.1,<2" "efficientnet-lite-pytorch==0.1.0" "monai>=1.5,<2" "nrtk[headless]>=1.1,<2" "maite>=0.10,<0.11"
LINTED := src tests scripts benchmarks examples docs container
PROSE := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md CODE_OF_CONDUCT.md CITATION.cff .github Makefile Containerfile experiments/
PORTABLE := $(BIN)/python -m pytest -q tests/attacks tests/art

# Peers that are timed only; some pin old versions of what they hardly use, so their dependencies are named here.
TIMED := foolbox==3.3.4 eagerpy torchattacks==3.5.1 GitPython gitdb smmap requests charset-normalizer idna urllib3 certifi

# A second environment that sees the packages of the first: peers may bring versions of their own without disturbing it.
define beside
test -x $(1)/bin/pip || $(BIN)/python -m venv $(1)
$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' \
	> "$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/first.pth"
endef

VARIANT ?= cpu
BUILDER ?= podman

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-portable slurm-test check mutants oracle bench gpu docs figures build wheel-test image container-test lock lock-cpu clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

setup: $(STAMP) ## install everything from the hashed lock into .venv

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "trustseg needs Python >= 3.11, got $$($(PYTHON) --version); set PYTHON=python3.12, say"; exit 2; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "no virtual environment could be made; install Python's venv module"; exit 2; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## generate chest X-rays, train 2 heads x 3 selections, attack, measure, write report.html
	$(BIN)/trustseg demo

test: setup check ## lint, types, import rules and the tests, in about six minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal

test-slow: setup ## what make test leaves out: tests of more than five seconds, the report in a browser, several processes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "slow and not slurm" -n 2 --dist worksteal

test-portable: setup ## tests that rounding could change, under three instruction sets and thread counts
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=1 $(PORTABLE) -n 2 --dist worksteal
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=2 $(PORTABLE)
	ONEDNN_MAX_CPU_ISA=AVX512_CORE OMP_NUM_THREADS=3 $(PORTABLE)

slurm-test: setup ## install SLURM (Debian, as root), start it on this machine, run a study through it
	command -v slurmctld >/dev/null || apt-get install --yes slurm-wlm munge
	$(BIN)/python -m pip install --quiet 'submitit>=1.5.4,<2'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slurm tests/study/test_slurm.py

check: setup ## lint, format, types, import rules, spelling
	$(BIN)/ruff check $(LINTED)
	$(BIN)/ruff format --check $(LINTED)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell $(LINTED) $(PROSE)

mutants: setup ## change the source in sampled places and count the changes that tests notice; hours
	OMP_NUM_THREADS=1 $(BIN)/python scripts/mutants.py

oracle: $(ORACLE)/.installed ## compare with independent libraries, installed beside .venv
	OMP_NUM_THREADS=1 $(ORACLE)/bin/python -m pytest -q -m oracle tests

$(ORACLE)/.installed: $(STAMP) Makefile
	$(call beside,$(ORACLE))
	$(ORACLE)/bin/python -m pip install --quiet $(PEERS)
	touch $@

bench: $(ORACLE)/.installed ## measure speeds and memory as ratios in one run, peers included; SUITES="attacks data" runs some
	$(ORACLE)/bin/python -m pip install --quiet --no-deps $(TIMED)
	$(ORACLE)/bin/python -m benchmarks.bench $(SUITES)
	$(BIN)/python scripts/performance_page.py runs/bench.json runs/performance.md

gpu: $(ORACLE)/.installed ## with a CUDA device: its tests and benchmarks, and with QATA=FOLDER experiments/qata.yaml
	$(BIN)/python -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "make gpu: no CUDA device is found")'
	$(BIN)/python -m pytest -q -m gpu tests
	$(ORACLE)/bin/python -m pip install --quiet --no-deps $(TIMED)
	$(ORACLE)/bin/python -m benchmarks.bench attacks training epoch
	$(if $(QATA),$(BIN)/trustseg study experiments/qata.yaml "data.path=$(QATA)" --hypotheses experiments/hypotheses.yaml)
	$(if $(QATA),$(BIN)/trustseg report runs/qata && $(BIN)/python scripts/publish_results.py runs/qata)

docs: $(SITE)/.installed ## build the documentation site in build/docs, tutorials executed; no network, warnings are errors
	OMP_NUM_THREADS=1 $(SITE)/bin/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet docs build/docs

$(SITE)/.installed: $(STAMP) Makefile
	$(call beside,$(SITE))
	$(SITE)/bin/python -m pip install --quiet 'setuptools>=77'
	$(SITE)/bin/python -m pip install --quiet --no-build-isolation --editable '.[docs]'
	touch $@

build: ## build wheel and sdist in dist/, the same bytes for the same commit
	$(PYTHON) scripts/build_dist.py

wheel-test: ## build twice, compare, install the wheel into an empty environment, run the demo from it
	$(PYTHON) scripts/build_dist.py --test

figures: setup ## make the figures of the docs again, and the page of benchmarks
	$(BIN)/python scripts/contact_sheets.py
	$(BIN)/python scripts/performance_page.py

image: $(if $(filter cpu,$(VARIANT)),container/torch-cpu.lock) ## build the container image; VARIANT=cpu (default) or cuda, BUILDER=podman or docker
	$(BUILDER) build --build-arg VARIANT=$(VARIANT) -t trustseg:$(VARIANT) .

container-test: setup container/torch-cpu.lock ## build the image for CPUs with podman or docker, and run it without root on a read-only file system
	$(BIN)/python -m pytest -q -rs -m container tests/test_container.py

container/torch-cpu.lock: requirements.lock
	$(MAKE) lock-cpu

lock-cpu: setup ## write the hashes of the CPU wheels of torch, which the image for CPUs needs
	$(BIN)/python container/packages.py torch requirements.lock | $(BIN)/uv pip compile --no-deps --generate-hashes \
		--no-header --no-annotate --torch-backend cpu --python-version 3.11 - -o container/torch-cpu.lock

lock: setup ## resolve the dependencies again
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-annotate --python-version 3.11 \
		--extra dev --extra tensorboard --extra art --extra slurm --extra pretrained --extra dicom --extra onnx --extra review pyproject.toml -o requirements.lock

clean: ## remove what make and the tools made, not runs/
	rm -rf $(VENV) $(ORACLE) $(SITE) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache src/*.egg-info
