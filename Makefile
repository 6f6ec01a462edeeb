# A friendly face over CMake: `make`, `make demo`, `make test`.
BUILD  ?= build
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)
MAKEFLAGS += --no-print-directory
FORMATTED = $(wildcard src/*/*.[ch] cli/*.[ch] bench/*.[ch] examples/*.c include/tandem/*.h tests/*/*.[ch])

.PHONY: all demo test test-large test-arm bench install docs format clean setup help test-sizes
.NOTPARALLEL:

all: $(BUILD)/CMakeCache.txt
	@cmake --build $(BUILD) --parallel $(JOBS)

$(BUILD)/CMakeCache.txt:
	@sh tools/setup.sh --check
	@cmake -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX)

setup:
	@sh tools/setup.sh

help:
	@echo "make            builds $(BUILD)/tandem"
	@echo "make demo       installs what is missing, builds, translates with the bundled model"
	@echo "make test       installs what is missing, builds, runs all tests, also under sanitizers"
	@echo "make test-large trains on ten million lines in bounded memory (long; 6 GB of disk)"
	@echo "make test-arm   builds for 64-bit ARM and runs tests of the kernels and a translation in an emulator"
	@echo "make test-sizes opens models of true size with random weights and measures their memory (5 GB of disk)"
	@echo "make bench      measures training and decoding; PEERS=VENV compares with PyTorch"
	@echo "make install    installs under PREFIX (default /usr/local)"
	@echo "make docs       writes docs/recipe.md anew from the table of options"
	@echo "make format     lays the code out with clang-format"
	@echo "make clean      removes the build folders"

demo: setup all
	@sh tools/demo.sh $(BUILD)/tandem pretrained

test: setup
	@sh tools/test.sh $(BUILD) $(JOBS)

test-large: setup all
	@TANDEM_LARGE_LINES=10000000 TANDEM_LARGE_SECONDS=36000 bash tests/cli/test_large.sh $(BUILD)/tandem

test-arm: setup all
	@sh tools/setup.sh --arm
	@sh tools/test-arm.sh $(BUILD) $(JOBS)

test-sizes: setup all
	@TANDEM_SIZES=all $(BUILD)/test_sizes

bench: setup all
	@$(BUILD)/tandem_bench --model pretrained/multi30k --json $(BUILD)/bench.json $(if $(PEERS),--peers $(PEERS))

install: $(BUILD)/CMakeCache.txt
	@cmake -S . -B $(BUILD) -DCMAKE_INSTALL_PREFIX=$(PREFIX) > /dev/null
	@cmake --build $(BUILD) --parallel $(JOBS)
	@cmake --install $(BUILD)

docs: all
	@TANDEM_WRITE_REFERENCE=1 $(BUILD)/test_recipe
	@echo "wrote docs/recipe.md; $(BUILD)/tandem.1 is the man page of this build"

format:
	@clang-format -i $(FORMATTED)

clean:
	@rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-arm64
