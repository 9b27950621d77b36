# What a newcomer needs: `make demo` and `make test`. Both set up what they need, or stop with one line that says what is missing.

GO      ?= go
TOOLS   := $(CURDIR)/bin/tools
GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.9.0
# Packages whose tests run under the race detector too: those where goroutines meet. Not internal/node: at debug level the engine (CometBFT
# v0.40.0) logs pointers to its live round state, and a test that reads everything logged trips over that.
RACE    := ./internal/vault ./internal/gateway ./internal/notify ./internal/custodian ./internal/translog ./internal/ledger ./internal/ledger/state

.PHONY: build demo test unit race lint vuln wasm bench soak clean need-go

need-go:
	@command -v $(GO) >/dev/null || { echo "Go 1.26 or newer is needed and not found: https://go.dev/dl"; exit 1; }
	@$(GO) version | awk '{split(substr($$3,3),v,"."); if (v[1]<1 || v[1]==1 && v[2]<26) {print "Go 1.26 or newer is needed; this is " $$3; exit 1}}'

build: need-go
	$(GO) build -trimpath -ldflags "-s -w" -o bin/anamnesis ./cmd/anamnesis

# The main job in one run; on a terminal the network stays up afterwards until Ctrl-C.
demo: build
	@if [ -t 1 ]; then exec bin/anamnesis demo --stay; else exec bin/anamnesis demo; fi

test: need-go stock-tools lint wasm unit race vuln

unit:
	$(GO) test -timeout 10m ./...

race:
	$(GO) test -race -short -timeout 15m $(RACE)

# The command-line tools of others that the tests open our files with. Without root they are not installed, and those tests say so.
.PHONY: stock-tools
stock-tools:
	@scripts/stock-tools.sh

lint: need-go
	@test -x $(TOOLS)/golangci-lint && $(TOOLS)/golangci-lint version 2>/dev/null | grep -q "$(GOLANGCI_LINT_VERSION:v%=%)" || \
		GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	@test -z "$$(gofmt -l cmd internal protocol)" || { echo "gofmt wants to change:"; gofmt -l cmd internal protocol; exit 1; }
	$(TOOLS)/golangci-lint run ./...

vuln: need-go
	@test -x $(TOOLS)/govulncheck || GOBIN=$(TOOLS) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	@scripts/vuln.sh $(TOOLS)/govulncheck

# What wallets and auditors run in a browser must keep building there.
wasm: need-go
	GOOS=js GOARCH=wasm $(GO) build ./protocol/... ./internal/threshold ./internal/wallet ./internal/fhir ./internal/proof

bench: build
	bin/anamnesis bench --out bench/latest.json
	$(GO) test -run '^$$' -bench SimulatedBlocks ./internal/sim

# Longer simulations, fuzzing and kill tests than `make test` has time for.
soak: need-go
	SIM_BLOCKS=20000 $(GO) test -count=1 -timeout 60m ./internal/sim -v
	scripts/fuzz.sh 60s

clean:
	rm -rf bin
