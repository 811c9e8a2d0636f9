# The interface of the project: `make help` says what there is. Everything sets itself up first.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# make shards SRC=/data/imagenet/train OUT=data/shards/imagenet
SRC    ?= data/pictures
OUT    ?= data/shards
# make train DATA=data/shards RUN=runs/first ARGS='--train.images 200000'
CONFIG ?= configs/gaussian.yaml
DATA   ?= $(OUT)
RUN    ?= runs/first
ARGS   ?=
# one process per GPU; two on a machine without
PROCESSES ?= $(shell $(BIN)/python -c 'import torch; print(torch.cuda.device_count() or 2)')
# make evaluate RUN=runs/first IMAGES=/data/kodak
IMAGES ?= demo/test

# torchrun warns where OMP_NUM_THREADS is unset; the ranks share out the cores themselves either way
TORCHRUN = OMP_NUM_THREADS=1 $(BIN)/torchrun --standalone --nproc-per-node=$(PROCESSES)

.DEFAULT_GOAL := help
.PHONY: help setup demo shards train evaluate results test test-faults test-slurm lint bench bench-shards clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

setup: $(VENV)/ready  ## virtual environment with everything installed

$(VENV)/ready: pyproject.toml pipeline/core.c
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup  ## the whole path on generated pictures, in minutes: shards, training, a table and a picture
	$(BIN)/n2n dead-leaves --out demo/train --count 240 --size 192 --seed 0
	$(BIN)/n2n dead-leaves --out demo/test --count 8 --size 256 --seed 1
	$(BIN)/n2n shard demo/train --out demo/shards --shard-mb 8
	$(TORCHRUN) -m launch.train --config configs/demo.yaml
	$(BIN)/n2n evaluate demo/run --images demo/test --json demo/scores.json --pictures demo/pictures

shards: setup  ## pictures -> shards: make shards SRC=/data/imagenet/train OUT=data/shards/imagenet
	$(BIN)/n2n shard $(SRC) --out $(OUT) $(ARGS)

train: setup  ## train on shards: make train DATA=data/shards/imagenet RUN=runs/first ARGS='--train.images 200000'
	$(TORCHRUN) -m launch.train $(CONFIG) data.train=$(DATA) run=$(RUN) $(ARGS)

evaluate: setup  ## PSNR and SSIM on clean pictures: make evaluate RUN=runs/first IMAGES=/data/kodak
	$(BIN)/n2n evaluate $(RUN) --images $(IMAGES) $(ARGS)

include configs/results/results.mk

test: setup  ## all tests, as many at a time as there are cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses logical --dist worksteal $(ARGS)

test-faults: setup  ## slow tests: ranks and nodes killed, frozen, replaced, added; benchmarks in small, sets and files of size
	$(BIN)/python -m pytest -m faults $(ARGS)

test-slurm: setup  ## the batch scripts under a real Slurm of two nodes on this machine: as root, with slurm-wlm and munge
	$(BIN)/python -m pytest -m slurm $(ARGS)

lint: setup  ## ruff and mypy
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup  ## how fast the loader is here, beside those of other libraries: make bench DATA=data/shards/imagenet
	$(BIN)/n2n bench peers $(if $(wildcard $(DATA)/index.json),--data $(DATA)) --out bench $(ARGS)

bench-shards: setup  ## how fast shards are written here, beside tar and other libraries: make bench-shards SRC=/data/imagenet/val
	$(BIN)/python -m pipeline.bench $(SRC) $(ARGS)

clean:  ## remove what `make demo` made
	rm -rf demo
