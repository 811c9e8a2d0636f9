# The tables of docs/results.md again, from raw pictures. Stopped at any moment, the same command goes on.
#   make results PHOTOS=/data/imagenet/train TESTS='/data/kodak /data/set14 /data/bsd300'
# A recipe is a file beside this one, and takes less than two hours on 4 cores; RECIPES='gaussian poisson' takes some.

RESULTS ?= results
# a folder of pictures to train on, and folders of clean pictures to test on
PHOTOS  ?= data/pictures
TESTS   ?= data/test
# how many pictures the recipe without photographs is trained on
LEAVES  ?= 1000
# folders of noisy renders, and of others with references; without them that recipe is left out
RENDERS ?=
RENDERS_TEST ?=
RECIPES ?= $(filter-out $(if $(RENDERS),,render),$(patsubst configs/results/%.yaml,%,$(wildcard configs/results/*.yaml)))

results: setup $(RECIPES:%=$(RESULTS)/scores/%)  ## train and measure configs/results/*: make results PHOTOS=/data/imagenet/train TESTS='/data/kodak'
	$(BIN)/n2n results $(RESULTS) --out $(RESULTS)/results.md
	$(BIN)/n2n plot $(RECIPES:%=$(RESULTS)/runs/%) --against seconds --out $(RESULTS)/curves.png

# The scores get their name when all of them are there; until then make asks for them again, and training resumes.
SET = photos
# A recipe NAME-128 goes on from what NAME has trained.
LARGER = $(patsubst configs/results/%.yaml,$(RESULTS)/scores/%,$(wildcard configs/results/*-128.yaml))
$(LARGER): private INIT = init=$(RESULTS)/runs/$(@F:-128=)
$(LARGER): $(RESULTS)/scores/%-128: | $(RESULTS)/scores/%
# One strength goes on from all of them.
$(RESULTS)/scores/gaussian-25: private INIT = init=$(RESULTS)/runs/gaussian-128
$(RESULTS)/scores/gaussian-25: | $(RESULTS)/scores/gaussian-128
$(RESULTS)/scores/leaves: private SET = leaves
$(RESULTS)/scores/leaves: | $(RESULTS)/leaves/index.json
$(RESULTS)/scores/%: configs/results/%.yaml | $(RESULTS)/photos/index.json
	$(TORCHRUN) -m launch.train $< data.train=$(RESULTS)/$(SET) run=$(RESULTS)/runs/$* $(INIT) $(ARGS)
	for test in $(TESTS); do \
	    $(BIN)/n2n evaluate $(RESULTS)/runs/$* --images $$test --json $(RESULTS)/scores/.$*/$$(basename $$test).json || exit; \
	done
	rm -rf $@ && mv $(RESULTS)/scores/.$* $@

$(RESULTS)/scores/render: configs/results/render.yaml | $(RESULTS)/renders/index.json $(RESULTS)/renders-test/index.json
	$(TORCHRUN) -m launch.train $< data.train=$(RESULTS)/renders run=$(RESULTS)/runs/render $(ARGS)
	$(BIN)/n2n evaluate $(RESULTS)/runs/render --data $(RESULTS)/renders-test --json $@/renders.json

$(RESULTS)/renders/index.json: | setup
	$(BIN)/n2n shard --renders $(RENDERS) --out $(@D)

$(RESULTS)/renders-test/index.json: | setup
	$(BIN)/n2n shard --renders $(RENDERS_TEST) --out $(@D)

$(RESULTS)/photos/index.json: | setup
	$(BIN)/n2n shard $(PHOTOS) --out $(@D)

$(RESULTS)/leaves/index.json: | setup
	$(BIN)/n2n dead-leaves --out $(RESULTS)/leaves-pictures --count $(LEAVES) --size 256 --seed 0
	$(BIN)/n2n shard $(RESULTS)/leaves-pictures --out $(@D)
