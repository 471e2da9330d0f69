# leash: every entry point for people. `make demo` and `make test` set up whatever is missing first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export LEASH_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/leash
SEED ?= 1
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 60
# DEVICE=cuda: demo and test with the CUDA build, on a GPU (docs/gpu.md).
export DEVICE ?= cpu
PRESET := $(if $(filter cuda%,$(DEVICE)),cuda,release)
CUDA_ARGS = -DCMAKE_CUDA_COMPILER=$(or $(shell command -v nvcc),$(or $(CUDA_HOME),/usr/local/cuda)/bin/nvcc) -DTORCH_CUDA_ARCH_LIST="$(shell .ci/gpu architectures)"
SOURCES = git ls-files '*.h' '*.cpp' '*.cu'

help:            ## this list
	@grep -E '^[a-z -]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup:           ## install what is missing: Debian packages, LibTorch, the model of the quick start
	@.ci/setup

build: setup     ## the optimised binary, build/release/leash (DEVICE=cuda: build/cuda/leash)
	@cmake --preset $(PRESET) $(if $(filter cuda,$(PRESET)),$(CUDA_ARGS)) $(CMAKE_ARGS) >build.log 2>&1 || { cat build.log; exit 1; }; rm -f build.log
	@cmake --build --preset $(PRESET) --target leash -j $(JOBS)

demo: build      ## train SmolLM2-135M with LoRA and PPO on the shipped prompts (SEED=n, DEVICE=cuda)
	@[ $(PRESET) = release ] || .ci/gpu check build/cuda/leash
	@build/$(PRESET)/leash train configs/recipes/demo.yaml --set run.seed=$(SEED) $(if $(filter cuda,$(PRESET)),--set devices.policy=$(DEVICE)) \
	  --run-dir runs/demo-seed$(SEED)-$$(date +%Y%m%d-%H%M%S)

demo-grpo: build ## train SmolLM2-135M with LoRA and GRPO on small sums (SEED=n)
	@build/release/leash train configs/recipes/grpo_sums.yaml --set run.seed=$(SEED) --run-dir runs/grpo-seed$(SEED)-$$(date +%Y%m%d-%H%M%S)

demo-feedback: build ## judge ten pairs in your browser, DPO on them, answers before and after (JUDGE=rule: no browser)
	@experiments/demo_feedback

test: setup      ## build everything and run all tests (DEVICE=cuda: those of tests/cuda)
ifeq ($(PRESET),cuda)
	@cmake --preset cuda $(CUDA_ARGS) $(CMAKE_ARGS) && cmake --build --preset cuda --target leash cuda_test -j $(JOBS)
	@.ci/gpu check build/cuda/leash
	@build/cuda/tests/cuda_test
else
	@cmake --preset release $(CMAKE_ARGS)
	@cmake --build --preset release -j $(JOBS)
	@ctest --preset release
endif

check: setup     ## some tests of one folder of tests/: make check IN=rl T='Gae.*'
	@[ -f build/release/build.ninja ] || cmake --preset release $(CMAKE_ARGS) >/dev/null
	@cmake --build --preset release --target $(or $(IN),experiments)_test $(if $(filter cli tasks,$(IN)),leash) -j $(JOBS)
	@build/release/tests/$(or $(IN),experiments)_test --gtest_filter='$(or $(T),*)'

format: setup    ## rewrite the sources with clang-format
	@$(SOURCES) | xargs clang-format -i

format-check:    ## fail where clang-format would change something
	@$(SOURCES) | xargs clang-format --dry-run --Werror

lint:            ## clang-tidy with the short list in .clang-tidy
	@.ci/setup clang-tidy
	@cmake --preset release -B build/lint -DLEASH_UNITY=OFF >/dev/null && cmake --build build/lint --target leash_git_version >/dev/null
	@git ls-files 'models/*.cpp' 'rollout/*.cpp' 'rl/*.cpp' 'configs/*.cpp' 'experiments/*.cpp' | xargs -P $(JOBS) -n 4 clang-tidy --quiet -p build/lint

asan tsan: setup ## the unit tests under AddressSanitizer with UBSan, or ThreadSanitizer
	@cmake --preset $@ $(CMAKE_ARGS) && cmake --build --preset $@ -j $(JOBS) && ctest --preset $@

fuzz: build      ## every reader of files from outside under libFuzzer, ASan and UBSan (FUZZ_SECONDS each; docs/fuzzing.md)
	@.ci/setup clang-14 libclang-rt-14-dev
	@cmake --preset fuzz $(CMAKE_ARGS) && cmake --build --preset fuzz -j $(JOBS)
	@JOBS=$(JOBS) FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

cuda: setup      ## compile and link against the CUDA LibTorch (running needs the wheel's full dependencies; TARGETS: some of it)
	@cmake --preset cuda $(CMAKE_ARGS) && cmake --build --preset cuda -j $(JOBS) $(if $(TARGETS),--target $(TARGETS))

mutants: setup   ## plant each mistake of tests/mutants, build, and show that the named test fails
	@.ci/setup python3-yaml
	@tests/mutants/run

bench: build     ## timings; with PEERS=PYTHON those of the peers in turn (experiments/bench/run)
	@experiments/bench/run

package: build   ## a .deb and a tar.zst that run without compiler or Python, in build/release/package
	@.ci/setup zstd dpkg-dev
	@cd build/release && rm -rf package && cpack >package.log 2>&1 || { cat package.log; exit 1; }
	@cd build/release/package && rm -rf _CPack_Packages && ls -l --block-size=M *.deb *.tar.zst

clean:           ## remove the build folders (the cache stays)
	rm -rf build

.PHONY: help setup build demo demo-grpo demo-feedback test check format format-check lint asan tsan fuzz cuda mutants bench package clean
