# Reprise. `make` alone prints what there is.

GO  ?= go
BIN ?= bin/reprise
# The least coverage over all modules, in percent.
COVER ?= 90
# How long each fuzz target and each benchmark runs.
FUZZTIME  ?= 20s
BENCHTIME ?= 1s
# Which benchmarks bench runs, and how often; benchstat wants 4 and more to tell
# a change from noise.
BENCH ?= .
COUNT ?= 1
BASELINE = bench/results/baseline.txt
# How long the soak goes on; REPRISE_SOAK_SEED takes the seed of an earlier one.
SOAK ?= 3m
# How many servers of a cluster are killed then, one after the other.
CLUSTER_ROUNDS ?= 6

# Which peers bench-peers measures (none named: all), how often, and its other
# flags; see bench/README.md.
PEERS  ?=
ROUNDS ?= 1
PEERS_FLAGS ?=
# The modules of the peers, which are outside of the workspace.
PEER_MODULES = bench/peers/restate bench/peers/temporal bench/peers/temporal-server
# How long an overload lasts.
OVERLOAD ?= 30s

# The directories of the modules that go.work joins; `work` names all their
# packages, so a new module is tested from the day it is joined.
MODULES = $(shell $(GO) work edit -json | sed -n 's/.*"DiskPath": "\(.*\)".*/\1/p')
# What coverage is measured of: the product, which is the root module.
PRODUCT = $(shell $(GO) list ./... | paste -sd, -)

LINTER = bin/golangci-lint
BENCHSTAT = bin/benchstat

.DEFAULT_GOAL := help

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the reprise command into bin/
	$(GO) build -trimpath -o $(BIN) ./cmd/reprise

.PHONY: test
test: ## Test every module with the race detector
	$(GO) test -race -timeout 30m work
	@# What nats-server's own races would disturb, or is too slow with the
	@# detector; see the skips in there.
	$(GO) test -timeout 30m -run 'FullDisk|RunRecovers|Overload' ./natsnode ./cmd/reprise ./verify/e2e

.PHONY: timing
timing: ## Hold deadlines to 250 ms; on a machine that does nothing else
	REPRISE_TIMING=strict $(GO) test -count=1 -run "Deadline|Lease|Backoff|Takeover" ./engine

.PHONY: lint
lint: $(LINTER) ## Lint every module (.golangci.yml says what and why not)
	@for module in $(MODULES); do \
		echo "lint $$module" && (cd $$module && $(CURDIR)/$(LINTER) run --config $(CURDIR)/.golangci.yml ./...) || exit 1; \
	done

.PHONY: lint-peers
lint-peers: $(LINTER) ## Lint the peers' modules, outside of the workspace
	@for module in $(PEER_MODULES); do \
		echo "lint $$module" && (cd $$module && GOWORK=off $(CURDIR)/$(LINTER) run --config $(CURDIR)/.golangci.yml ./...) || exit 1; \
	done

# The linter's own module keeps its many dependencies out of go.mod.
$(LINTER): tools/go.mod
	cd tools && GOWORK=off $(GO) build -o ../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: cover
cover: ## Measure coverage over all modules; fails below COVER percent
	$(GO) test -coverpkg=$(PRODUCT) -coverprofile=cover.out work
	@$(GO) tool cover -func=cover.out | awk -v least=$(COVER) \
		'/^total:/ {print "total coverage: " $$3; sub("%", "", $$3); if ($$3 + 0 < least) {print "less than " least "%"; exit 1}}'

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME
	@grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file _ name; do \
		echo "fuzz $${file%/*} $${name#func }"; \
		$(GO) test -run='^$$' -fuzz="^$${name#func }$$" -fuzztime=$(FUZZTIME) "$${file%/*}" || exit 1; \
	done

.PHONY: bench
bench: $(BENCHSTAT) ## Run benchmarks, as shares of their limits and beside the baseline
	$(call run-bench,bin/bench.txt)
	@echo && $(GO) run ./bench/ratios bin/bench.txt
	@echo && $(BENCHSTAT) baseline=$(BASELINE) now=bin/bench.txt

.PHONY: bench-baseline
bench-baseline: ## Measure the baseline anew; on a machine that does nothing else
	$(call run-bench,$(BASELINE))

# What it prints goes to the file $(1) too; the first line says where it is from.
# Garbage is collected as seldom as in `reprise serve`.
define run-bench
@mkdir -p $(dir $(1)) && echo "(commit $$(git describe --always --dirty --exclude='*'), $$(date -u +%Y-%m-%d), $(BENCHTIME) each, $(COUNT) times)" > $(1)
@{ GOGC=$${GOGC:-300} $(GO) test -run='^$$' -bench='$(BENCH)' -skip=DuringPurge -benchmem -benchtime=$(BENCHTIME) -count=$(COUNT) -timeout=3h work || echo FAIL; } | grep -v -e 'no test files' -e '^ok ' -e '^PASS' | tee -a $(1)
@! grep -q '^FAIL' $(1)
endef

# As for the linter, its module keeps its dependencies out of go.mod.
$(BENCHSTAT): tools/benchstat/go.mod
	cd tools/benchstat && GOWORK=off $(GO) build -o ../../$@ golang.org/x/perf/cmd/benchstat

.PHONY: bench-sync
bench-sync: ## Measure the durability modes side by side, with 256 writers (ADR 0013, 0014)
	$(GO) test -run='^$$' -bench='BenchmarkSync/(server|interval)' -benchtime=25000x -count=3 ./eventstore/jetstream
	for round in 1 2 3; do \
		$(GO) test -run='^$$' -bench='BenchmarkSync/always,_singly' -benchtime=4000x ./eventstore/jetstream && \
		$(GO) test -run='^$$' -bench='BenchmarkSync/always,_grouped' -benchtime=40000x ./eventstore/jetstream || exit 1; \
	done

.PHONY: bench-purge
bench-purge: ## Measure commands to other sessions while 20,000 are purged
	$(GO) test -run='^$$' -bench=DuringPurge -benchtime=1x ./engine

.PHONY: bench-peers
bench-peers: ## Measure Reprise beside other engines, or PEERS of them, ROUNDS times
	$(GO) run ./bench/peers -peers '$(PEERS)' -rounds $(ROUNDS) $(PEERS_FLAGS)

.PHONY: soak
soak: ## Kill engines and workers under load for SOAK, then check it all
	REPRISE_SOAK=$(SOAK) $(GO) test -count=1 -timeout 30m -v -run TestSoak ./verify/soak
	REPRISE_CLUSTER_ROUNDS=$(CLUSTER_ROUNDS) $(GO) test -count=1 -timeout 30m -v -run TestLostServers ./verify/e2e

.PHONY: growth
growth: build ## Measure and draw how figures change with sessions, histories and clients
	$(GO) run ./bench/growth -reprise $(BIN) $(GROWTH_FLAGS)

.PHONY: overload
overload: ## Send three times what the engine can do for OVERLOAD, then check it all
	REPRISE_OVERLOAD=$(OVERLOAD) $(GO) test -count=1 -timeout 10m -v -run TestOverload ./verify/e2e

.PHONY: demo
demo: build ## Show run, pause, resume, retry, skip, cancel, history, delete
	@REPRISE=$(BIN) sh scripts/demo.sh

.PHONY: clean
clean: ## Remove what the other targets made
	rm -rf bin cover.out
