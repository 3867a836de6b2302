# Commands for people. Each does its own set-up on first use; `make help` lists them.
SCALE     ?= reduced
SIMULATOR ?=
DEVICE    ?=
CORES     ?= $(shell env -u OMP_NUM_THREADS nproc)
PROFILE   ?= workflow/profiles/default
VENV      ?= .venv
PYTHON    ?= python3
RESULTS   := results/$(SCALE)
PUBLIC    := $(RESULTS)/$(or $(SIMULATOR),rooms)

BIN       := $(VENV)/bin
INSTALLED := $(VENV)/.installed-$(shell cat envs/requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
# torch and its libraries keep to one core per job; jobs fill the cores.
export OMP_NUM_THREADS := 1
export SNAKEMAKE_PROFILE := $(PROFILE)
export PYTHONPATH := $(CURDIR)/workflow$(if $(PYTHONPATH),:$(PYTHONPATH))

# Words that mean nothing end here: an empty SCALE would remove all results, and a misspelt one is known to nobody later.
SCALES := $(basename $(notdir $(wildcard config/scales/*.yaml)))
one_of = $(and $(filter 1,$(words $(1))),$(filter $(2),$(1)))
ifeq ($(call one_of,$(SCALE),$(SCALES)),)
  $(error unknown SCALE '$(SCALE)'; there is: $(SCALES))
endif
ifneq ($(SIMULATOR),$(call one_of,$(SIMULATOR),rooms thor))
  $(error unknown SIMULATOR '$(SIMULATOR)'; there is: rooms thor)
endif
ifneq ($(DEVICE),$(call one_of,$(DEVICE),auto cpu cuda))
  $(error unknown DEVICE '$(DEVICE)'; there is: auto cpu cuda)
endif
ifneq ($(shell test "$(CORES)" -gt 0 2> /dev/null && echo whole),whole)
  $(error CORES is '$(CORES)'; give a whole number above 0: make CORES=2)
endif

override_config = --config scale=$(SCALE) $(if $(SIMULATOR),simulator=$(SIMULATOR)) $(if $(DEVICE),device=$(DEVICE))
# $(call snakemake,TARGET): --config takes every word after it, so it comes last.
snakemake = $(BIN)/python -m rlleak.stale_lock && \
  $(BIN)/python -m snakemake --cores $(CORES) $(1) --quiet host rules reason $(override_config)

.DEFAULT_GOAL := help
.PHONY: help bench calibrate reference-bench smoke reproduce reference plan test lint format verdicts report gallery federated_demo defences_overheads image-test audit lock schemas setup gl clean clean-results unlock
.PHONY: table1 table2 section5 fig1 fig3 fig4 verdicts beyond_table1 beyond_batch beyond_noise beyond_architectures beyond_reidentification defences_rooms defences_architecture defences_fedavg
.PHONY: privacy_utility defences_table2 defences_crossover defences_sums federated_curves
.PHONY: rgia_main rgia_consistency rgia_ablation rgia_weights rgia_prior rgia_batch rgia_trained rgia_normalisation rgia_frozenlake
.PHONY: beyond_rooms reidentification rgia_frames rgia_clusters rgia_pseudo_solutions

help: ## Lists these commands.
	@echo "make COMMAND [SCALE=smoke|reduced|paper] [SIMULATOR=rooms|thor] [DEVICE=auto|cpu|cuda] [CORES=n]"
	@grep -hE '^[a-z0-9 _%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([^:]+):.*## (.*)/  \1|\2/' | column -t -s '|'

smoke: ## Everything once at the smallest honest size: a few minutes.
	@$(MAKE) --no-print-directory reproduce SCALE=smoke

reproduce: setup gl ## Every table, figure and verdict; SCALE=reduced unless given.
	$(call snakemake,all)
	@$(BIN)/python -m rlleak.publishing.terminal $(RESULTS)

reference: setup ## Keeps a finished run's tables, figures and verdicts in results/reference, with machine and date.
	$(BIN)/python -m rlleak.publishing.reference $(RESULTS) results/reference

plan: setup ## What would run at SCALE, without running it, and what it needs.
	@planned=$$($(BIN)/python -m snakemake --dry-run --cores $(CORES) all --quiet host rules reason $(override_config)) \
	  || { echo "$$planned"; exit 1; }; echo "$$planned" | awk '/^Job stats/ {table = ""} /^Reasons/ {exit} \
	  {table = table $$0 "\n"} END {printf "%s", table}'
	@$(BIN)/python -m rlleak.planning scale=$(SCALE) $(if $(SIMULATOR),simulator=$(SIMULATOR))

table1 table2 section5: setup gl ## One table of the paper (section5: the numbers of its text).
	$(call snakemake,$(RESULTS)/tables/$@.html)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html"

fig1 fig3 fig4: setup gl ## One figure of the paper.
	$(call snakemake,$(RESULTS)/figures/$@.png)
	@echo "$(RESULTS)/figures/$@.png, .pdf"

beyond_table1: setup gl ## The papers' attacks and ours on the same victims: table and picture.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/beyond_rooms.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/beyond_rooms.png, .pdf"

beyond_batch beyond_noise: setup gl ## Samples of a batch told apart; attacks under noise: table and figure.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/$@.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/$@.png, .pdf"

beyond_architectures defences_architecture: setup gl ## What each layer of some networks gives away: counted, then measured.
	$(call snakemake,$(RESULTS)/tables/$@.html)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html"

beyond_reidentification: setup gl ## Which room a reconstruction shows, and what is being looked for.
	$(call snakemake,$(RESULTS)/tables/reidentification.html)
	@echo "$(RESULTS)/tables/reidentification.csv, .tex, .html"

defences_rooms: setup gl ## What defences leave of attacks in rooms that know them: table and figure.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/$@.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/$@.png, .pdf"

rgia_main: setup gl ## RGIA, its baselines and ours in all environments: table and frames.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/rgia_frames.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/rgia_frames.png, .pdf"

rgia_consistency: setup gl ## Whether RGIA's restarts agree: table and clusters.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/rgia_clusters.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/rgia_clusters.png, .pdf"

rgia_ablation rgia_trained rgia_normalisation: setup gl ## RGIA, one regulariser at a time; trained policies; normalised observations.
	$(call snakemake,$(RESULTS)/tables/$@.html)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html"

rgia_weights rgia_prior rgia_batch: setup gl ## RGIA over its weights, its prior, and batches: table and figure.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/$@.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/$@.png, .pdf"

rgia_frozenlake: setup gl ## Impossible transitions with the same gradient: table and figure.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/rgia_pseudo_solutions.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/rgia_pseudo_solutions.png, .pdf"

# Figures, and a table, that are made with another's.
beyond_rooms: beyond_table1
reidentification: beyond_reidentification
rgia_frames: rgia_main
rgia_clusters: rgia_consistency
rgia_pseudo_solutions: rgia_frozenlake

privacy_utility defences_table2 defences_crossover defences_sums: setup gl ## What defences leave and cost: table and figure.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/$@.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/$@.png, .pdf"

defences_fedavg: setup gl ## Several local steps before sharing: table.
	$(call snakemake,$(RESULTS)/tables/$@.html)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html"

federated_curves: setup gl ## Returns over environment steps, with and without each defence: figure.
	$(call snakemake,$(RESULTS)/figures/$@.png)
	@echo "$(RESULTS)/figures/$@.png, .pdf"

federated_demo: setup gl ## A server that attacks while it trains with clients over loopback: figure.
	$(call snakemake,$(RESULTS)/figures/$@.png)
	@echo "$(RESULTS)/figures/$@.png, .pdf"

defences_overheads: setup gl ## What defences, secure aggregation and encryption cost: table and figure.
	$(call snakemake,$(RESULTS)/tables/$@.html $(RESULTS)/figures/$@.png)
	@echo "$(RESULTS)/tables/$@.csv, .tex, .html; $(RESULTS)/figures/$@.png, .pdf"

verdicts: setup gl ## The verdict on every claim of the paper.
	$(call snakemake,verdicts)
	@$(BIN)/python -c 'import sys; from rlleak.publishing.terminal import print_verdicts; print_verdicts(sys.argv[1])' \
	  $(RESULTS)/verdicts.csv

report: reproduce ## The report, with everything that it holds.

gallery: setup gl ## Contact sheet of all 120 rooms and their image statistics.
	$(call snakemake,gallery)

test: setup gl ## All tests: of the library and of the workflow.
	$(BIN)/python -m pytest tests/unit tests/workflow -n $(CORES) --dist loadfile

bench: setup ## Milliseconds per victim and iteration, beside plain autograd: results/bench.json (6 minutes).
	$(BIN)/python -m rlleak.benchmarks.bench results/bench.json

calibrate: setup gl ## What `peel` and `best` choose by, tried on public rooms: results/reference/calibration (80 minutes).
	@$(BIN)/python -m rlleak.benchmarks.calibration --check $(CONSTANTS)
	$(call snakemake,$(PUBLIC)/experience/public.safetensors $(PUBLIC)/public/prior.S1.safetensors)
	$(BIN)/python -m rlleak.benchmarks.calibration scale=$(SCALE) $(if $(SIMULATOR),simulator=$(SIMULATOR)) $(CONSTANTS)

reference-bench: ## Keeps the last `make bench` in results/reference/bench.
	mkdir -p results/reference/bench && cp results/bench.json results/reference/bench/bench.json

lint: setup ## Style, format, import layers, and the workflow by its own linter.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/lint-imports
	$(BIN)/python -m snakemake --lint

format: setup ## Formats Python and Snakemake files.
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

image-test: ## Builds the image and runs smoke and the tests in it (needs docker or podman; not part of `make test`).
	envs/image_test

audit: setup ## What a policy's gradients leak: make audit POLICY=policy.zip OBSERVATION=4,84,84 [OUT=results/audit]
	@test -n "$(POLICY)" -a -n "$(OBSERVATION)" || { echo "make audit POLICY=policy.zip OBSERVATION=4,84,84"; exit 1; }
	@$(BIN)/python -m rlleak.auditing "$(POLICY)" --observation "$(OBSERVATION)" --out "$(or $(OUT),results/audit)"

schemas: setup ## Writes workflow/schemas from the configuration's models.
	$(BIN)/python -m rlleak.configuration.schemas workflow/schemas

# The CPU's build of torch and CUDA's differ in version suffix and in NVIDIA's libraries; pip chooses by machine.
lock: setup ## Resolves envs/requirements.in into envs/requirements.lock.
	$(BIN)/pip-compile --quiet --upgrade --allow-unsafe --strip-extras --no-header --annotation-style line \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --output-file envs/requirements.lock envs/requirements.in
	sed -i -E '/^(nvidia-|triton|cuda-)/d; s/^(torch==[0-9.]+)\+[a-z0-9]+/\1/' envs/requirements.lock

setup: $(INSTALLED) ## The virtual environment, from the lock.

$(INSTALLED): envs/requirements.lock pyproject.toml
	@# Without python3-venv Debian leaves an environment that has no pip: it is made whole once the package is there.
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || said=$$($(PYTHON) -m venv $(VENV) 2>&1) || \
	  { echo "no environment in $(VENV) ($$(echo "$$said" | grep . | tail -n 1)): apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 (after rm -r $(VENV))"; exit 1; }
	$(BIN)/python -m pip install --quiet --requirement envs/requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-*
	@touch $@

gl: setup
	@said=$$($(BIN)/python -c 'from rlleak.simulators.rooms.gl import choose_gl; choose_gl()' 2>&1) || case "$$said" in \
	  *"cannot draw"*) echo "$$said" | tail -n 1; exit 1;; *) envs/install_gl;; esac

unlock: setup ## Removes the lock that a killed run left, whoever holds it.
	$(BIN)/python -m snakemake --unlock --cores 1

# How results were made stays: without it a changed setting is not noticed, and they would be taken for its own.
clean: ## Removes logs and caches, but no results.
	find .snakemake -mindepth 1 -maxdepth 1 ! -name metadata -exec rm -rf {} + 2> /dev/null || true
	rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache

clean-results: ## Removes the results at SCALE.
	rm -rf $(RESULTS)
