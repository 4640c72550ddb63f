# The targets set themselves up: the first one builds .venv from requirements/lock.txt.
HW ?= cpu
EFFORT ?= quick
BOOTSTRAP ?= python3
JOBS ?= 2
VENV := .venv
RUN := $(VENV)/bin/python -m studylib
CHOICE := --hw '$(HW)' --effort '$(EFFORT)' $(if $(MODEL),--model '$(MODEL)') $(if $(RECIPE),--recipe '$(RECIPE)') $(if $(LOSS),--loss '$(LOSS)') $(if $(ASSIGNMENT),--assignment '$(ASSIGNMENT)') \
	$(if $(RUNTIME),--runtime '$(RUNTIME)') $(if $(BATCH),--batch '$(BATCH)') $(if $(SWEEP),--sweep '$(SWEEP)') $(if $(filter-out 0 no false,$(SEARCH)),--search) $(if $(SCENARIO),--scenario '$(SCENARIO)') \
	$(if $(DRIVER),--driver '$(DRIVER)') $(if $(QPS),--qps '$(QPS)') $(if $(BOUND),--bound '$(BOUND)') $(if $(SEED),--seed '$(SEED)') \
	$(if $(DATA),--data '$(DATA)') $(if $(TASK),--task '$(TASK)') $(if $(filter-out 0 no false,$(TRUST)),--trust) \
	$(if $(filter-out 0 no false,$(STRICT)),--strict) $(if $(filter-out 0 no false,$(FORCE)),--force)

KNOWN := BENCH HW EFFORT MODEL DATA TASK TRUST RECIPE LOSS LATENCY_MS RSS_MB SIZE_MB ASSIGNMENT RUNTIME BATCH SWEEP SEARCH SCENARIO DRIVER QPS BOUND SEED STRICT FORCE BOOTSTRAP JOBS
UNKNOWN := $(filter-out $(addsuffix =%,$(KNOWN)),$(MAKEOVERRIDES))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN). Known: $(KNOWN)))

.PHONY: help study plan report advise path compare explore test lint bench readme nvidia converters install
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

study: install  ## convert, compress, measure, report
	@$(RUN) study $(CHOICE)

plan: install  ## print what `make study` would do
	@$(RUN) plan $(CHOICE)

report: install  ## rebuild the report from stored results
	@$(RUN) report --hw '$(HW)'

advise: install  ## what to set: LATENCY_MS= RSS_MB= SIZE_MB= LOSS= are limits that must be kept
	@$(RUN) advise --hw '$(HW)' $(if $(MODEL),--model '$(MODEL)') $(if $(LATENCY_MS),--latency-ms '$(LATENCY_MS)') \
		$(if $(RSS_MB),--rss-mb '$(RSS_MB)') $(if $(SIZE_MB),--size-mb '$(SIZE_MB)') $(if $(LOSS),--loss '$(LOSS)')

path: install  ## quantize, batch, sessions, memory settings: what each step brings
	@$(RUN) path $(CHOICE)

compare: install  ## every machine in outputs/ side by side
	@$(RUN) compare

explore: install  ## JupyterLab on the notebooks
	@$(VENV)/bin/jupyter lab notebooks

test: install lint  ## unit tests, contract tests, nbval; JOBS=2 processes beside each other
	@$(VENV)/bin/python -m pytest -n '$(JOBS)' --dist loadscope

lint: install  ## ruff and the notebook rules
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

bench: install  ## what the harness costs; BENCH=compression or search: what those bring
	@$(RUN) bench --effort '$(EFFORT)' $(if $(BENCH),--only '$(BENCH)') $(if $(MODEL),--model '$(MODEL)')

readme: install  ## write figure and table of `make study HW=cpu` into README.md
	@$(VENV)/bin/python docs/update_readme.py

nvidia: install  ## NVIDIA's builds of ONNX Runtime and TensorRT into .venv, for HW=cloud-gpu
	@$(VENV)/bin/python requirements/install.py --nvidia

converters: install  ## ONNX and PyTorch also to LiteRT and SavedModel: onnx2tf in .venv-onnx2tf, torch and litert-torch in .venv
	@$(VENV)/bin/python requirements/install.py --converters

install:  ## build .venv (every target does this by itself)
	@command -v $(BOOTSTRAP) >/dev/null || { echo 'error: no $(BOOTSTRAP) here. Install Python 3.11 or 3.12, or name one: make BOOTSTRAP=/path/to/python' >&2; exit 2; }
	@$(BOOTSTRAP) requirements/install.py
