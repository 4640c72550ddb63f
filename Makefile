# The targets set themselves up: the first one builds .venv from requirements/lock.txt.
BOOTSTRAP ?= python3
JOBS ?= 2
STUDYLIB_VENV ?= .venv
PYTHON_IN := "$$STUDYLIB_VENV/bin/python"

# What may be typed. Which verb takes what, and which words, is said in studylib/arguments.py.
CHOICES := HW EFFORT MODEL DATA TASK TRUST RECIPE ASSIGNMENT LOSS RUNTIME BATCH SWEEP SEARCH SCENARIO DRIVER QPS BOUND SEED STRICT FORCE \
	LATENCY_MS RSS_MB SIZE_MB BENCH ROUNDS
SETTINGS := BOOTSTRAP PYTHON JOBS STUDYLIB_VENV COUNT FROM
VERBS := study plan report advise path compare bench

# Values go to Python by name, through the environment, as they were typed: neither make (`$`) nor a shell (quotes) reads them.
TYPED := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
UNKNOWN := $(filter-out $(CHOICES) $(SETTINGS),$(TYPED))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN). Known: $(CHOICES) $(SETTINGS)))
$(foreach name,$(TYPED),$(eval override $(name) := $$(value $(name))))
MAKEOVERRIDES :=
export $(TYPED) BOOTSTRAP JOBS STUDYLIB_VENV
# The sources of this checkout, in kernels too, whoever built the environment.
export PYTHONPATH := $(CURDIR)$(if $(value PYTHONPATH),:$(value PYTHONPATH))

GOALS := $(or $(MAKECMDGOALS),help)
IDLE := $(filter $(CHOICES),$(TYPED))
$(if $(IDLE),$(if $(filter $(VERBS),$(GOALS)),,$(info note: $(IDLE) has no effect on `make $(GOALS)`)))

.PHONY: help $(VERBS) explore test lint fuzz readme nvidia converters install
.DEFAULT_GOAL := help

help:  ## what can be typed
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-9s %s\n", $$1, $$2}'
	@echo
	@echo '  HW=name       a hardware set: $(sort $(basename $(notdir $(wildcard params/*.yaml)))) (default cpu)'
	@echo '  EFFORT=name   smoke (minutes), quick (default) or full (publication)'
	@echo '  MODEL= RECIPE= RUNTIME= BATCH=   names or sizes, separated by commas, instead of the hardware set'"'"'s'
	@echo '  MODEL=path [DATA=file.npz|folder] [TASK=classification] [TRUST=1]   your own model: SavedModel folder, .keras, .h5, .onnx, .tflite, .pt2'
	@echo '  SWEEP=names   what to vary, one at a time: batch, threads, graph, execution, memory, spinning, xnnpack, hint, xla, engine; all or none'
	@echo '  SEARCH=1      look for the fastest by successive halving, and measure only the last few in full'
	@echo '  RECIPE=all    every technique      LOSS=0.01  share of right answers that an adaptive recipe may lose'
	@echo '  ASSIGNMENT=path   apply the precisions that an earlier search saved (outputs/<HW>/adaptive/), instead of searching'
	@echo '  SCENARIO=server,multi_stream,streaming   these too      DRIVER=loadgen|loop   who issues the queries'
	@echo '  QPS=n BOUND=ms   the rate of the server scenario (default: the highest that keeps its p99 within BOUND, 100 ms)'
	@echo '  SEED=n        another seed      STRICT=1  refuse a rehearsal      FORCE=1  measure again'
	@echo '  TRUST, SEARCH, STRICT, FORCE: yes or no. All of these are taken from the command line, not from the environment.'

study: install  ## convert, compress, measure, report
plan: install  ## print what `make study` would do
report: install  ## rebuild the report from stored results
advise: install  ## what to set: LATENCY_MS= RSS_MB= SIZE_MB= LOSS= are limits that must be kept
path: install  ## quantize, batch, sessions, memory settings: what each step brings
compare: install  ## every machine in outputs/ side by side
bench: install  ## what the harness costs; BENCH=compression or search: what those bring
$(VERBS):
	@STUDYLIB_TYPED='$(filter $(CHOICES),$(TYPED))' $(PYTHON_IN) -m studylib $@

explore: install  ## JupyterLab on the notebooks
	@$(PYTHON_IN) -m jupyterlab notebooks

test: install lint  ## unit tests, contract tests, nbval; JOBS=2 processes beside each other
	@$(PYTHON_IN) -m pytest -n "$$JOBS" --dist loadscope

lint: install  ## ruff and the notebook rules
	@"$$STUDYLIB_VENV/bin/ruff" check .
	@"$$STUDYLIB_VENV/bin/ruff" format --check .

fuzz: install  ## generated models converted, evaluated, asked in batches, and held against their frameworks; COUNT=500 FROM=1 (seeds)
	@$(PYTHON_IN) tests/fuzz --count "$${COUNT:-500}" --seed "$${FROM:-1}" --processes "$$JOBS"

readme: install  ## write figure and table of `make study HW=cpu` into README.md
	@$(PYTHON_IN) docs/update_readme.py

nvidia: install  ## NVIDIA's builds of ONNX Runtime and TensorRT into .venv, for HW=cloud-gpu
	@$(PYTHON_IN) requirements/install.py --nvidia

converters: install  ## ONNX and PyTorch also to LiteRT and SavedModel: onnx2tf in .venv-onnx2tf, torch and litert-torch in .venv
	@$(PYTHON_IN) requirements/install.py --converters

install:  ## build .venv (every target does this by itself)
	@command -v "$$BOOTSTRAP" >/dev/null || { echo "error: no $$BOOTSTRAP here. Install Python 3.11 or 3.12, or name one: make BOOTSTRAP=/path/to/python" >&2; exit 2; }
	@"$$BOOTSTRAP" requirements/install.py
