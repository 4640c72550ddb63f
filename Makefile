# The targets set themselves up: the first one builds .venv from requirements/lock.txt.
BOOTSTRAP ?= python3
JOBS ?= 3
STUDYLIB_VENV ?= .venv
PYTHON_IN := "$$STUDYLIB_VENV/bin/python"

# What is typed for this file itself; everything else is an option of a verb, which studylib/params/study_options.py declares.
SETTINGS := BOOTSTRAP PYTHON JOBS STUDYLIB_VENV COUNT FROM FAST
VERBS := study plan report advise path serve deploy load case compare bench peers

# Values go to Python by name, through the environment, as they were typed: neither make (`$`) nor a shell (quotes) reads them.
TYPED := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
$(foreach name,$(TYPED),$(eval override $(name) := $$(value $(name))))
MAKEOVERRIDES :=
export $(TYPED) BOOTSTRAP JOBS STUDYLIB_VENV
# A study starts a process for each repetition: without bytecode on the disk each would compile TensorFlow's sources anew, for ten seconds.
export PYTHONDONTWRITEBYTECODE :=
# The sources of this checkout, in kernels too, whoever built the environment.
export PYTHONPATH := $(CURDIR)$(if $(value PYTHONPATH),:$(value PYTHONPATH))

GOALS := $(or $(MAKECMDGOALS),help)
OPTIONS := $(filter-out $(SETTINGS),$(TYPED))
$(if $(OPTIONS),$(if $(filter $(VERBS),$(GOALS)),,$(info note: $(OPTIONS) has no effect on `make $(GOALS)`)))

.PHONY: help $(VERBS) explore test lint fuzz readme weights nvidia converters install
.DEFAULT_GOAL := help

help:  ## what can be typed
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-9s %s\n", $$1, $$2}'
	@"$$BOOTSTRAP" requirements/options.py

study: install  ## convert, compress, measure, report
plan: install  ## print what `make study` would do
report: install  ## rebuild the report from stored results
advise: install  ## what to set, from stored results, within the limits that are typed
path: install  ## quantize, batch, sessions, memory settings: what each step brings
serve: install  ## the advised configuration behind a server: REST on 8501, gRPC on 8500
deploy: install  ## image, compose file, Kubernetes objects and nginx of the advised configuration
load: install  ## ask a server that somebody runs: TARGET=host:port MODEL=name QPS=100
case: install  ## one question of a product team on real input: CASE=image, DATA=your photographs
compare: install  ## every machine in outputs/ side by side
bench: install  ## what the measuring costs, and what compression and search bring
peers: install  ## once: tools and servers of others, each in an environment of its own (.venv-peers, 3 GB)
$(VERBS):
	@STUDYLIB_TYPED='$(OPTIONS)' $(PYTHON_IN) -m studylib $@

explore: install  ## JupyterLab on the notebooks
	@$(PYTHON_IN) -m jupyterlab notebooks

test: install lint  ## unit tests, contract tests, nbval; FAST=1: what needs no framework; JOBS=3 processes beside each other
	@$(PYTHON_IN) -m pytest -n "$$JOBS" --dist loadscope --no-loadscope-reorder --fast "$${FAST:-0}"

lint: install  ## ruff and the notebook rules
	@"$$STUDYLIB_VENV/bin/ruff" check .
	@"$$STUDYLIB_VENV/bin/ruff" format --check .

fuzz: install  ## generated models converted, evaluated, asked in batches, and held against their frameworks; COUNT=500 FROM=1 (seeds)
	@$(PYTHON_IN) -m tests.fuzz --count "$${COUNT:-500}" --seed "$${FROM:-1}" --processes "$$JOBS"

readme: install  ## docs/example, and where the run was fit the front page, from the results of `make study HW=cpu`
	@$(PYTHON_IN) docs/update_readme.py

weights: install  ## train the weights of mnist_cnn again that lie in the repository
	@$(PYTHON_IN) -m studylib.models.zoo.mnist_cnn

nvidia: install  ## NVIDIA's builds of ONNX Runtime and TensorRT into .venv, for HW=cloud-gpu
	@$(PYTHON_IN) requirements/install.py --nvidia

converters: install  ## ONNX and PyTorch also to LiteRT and SavedModel: onnx2tf in .venv-onnx2tf, torch and litert-torch in .venv
	@$(PYTHON_IN) requirements/install.py --converters

install:  ## build .venv (every target does this by itself)
	@command -v "$$BOOTSTRAP" >/dev/null || { echo "error: no $$BOOTSTRAP here. Install Python 3.11 or 3.12, or name one: make BOOTSTRAP=/path/to/python" >&2; exit 2; }
	@"$$BOOTSTRAP" requirements/install.py
