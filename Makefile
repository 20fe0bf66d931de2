.DEFAULT_GOAL := help
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
FUZZ_TIME ?= 20s
# The race detector's pointer checks take half of the time in SQLite, which is C turned into Go:
# they stay on for everything else.
NO_CHECKPTR = -gcflags='modernc.org/...=-d=checkptr=0'

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## watch a failing fleet recover
	go run ./cmd/retryd demo

.PHONY: build
build: ## build bin/retryd
	CGO_ENABLED=0 go build -trimpath -o bin/retryd ./cmd/retryd

.PHONY: test
test: ## run all tests, with the race detector
	@command -v cc >/dev/null || { echo "make test needs a C compiler for the race detector: install gcc" >&2; exit 1; }
	go vet ./...
	go test -race $(NO_CHECKPTR) -count=1 -timeout 12m ./...

.PHONY: lint
lint: ## check format, modules and style
	@test -z "$$(gofmt -l .)" || { gofmt -l . >&2; echo "these files need gofmt" >&2; exit 1; }
	go mod tidy -diff
	go run $(GOLANGCI_LINT) run ./...

.PHONY: bench
bench: ## run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: month
month: ## simulate 30 days of configs/fleet.yaml, and two years of clocks; print the tables (10 min)
	go test -count=1 -v -timeout 40m -run 'ThirtyDays|TwoYears|Throttling|ReloadUnderLoad|WrongKeyForAnHour' ./internal/scheduler -whole-fleet

.PHONY: fuzz
fuzz: ## fuzz each parser for FUZZ_TIME (20s)
	go test -run '^$$' -fuzz '^FuzzParseTime$$' -fuzztime $(FUZZ_TIME) ./internal/iotda
	go test -run '^$$' -fuzz '^FuzzParseSchedule$$' -fuzztime $(FUZZ_TIME) ./internal/policy
	go test -run '^$$' -fuzz '^FuzzParse$$' -fuzztime $(FUZZ_TIME) ./internal/config
