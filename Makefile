.DEFAULT_GOAL := help
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
VULN_DB ?= https://vuln.go.dev
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
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || test -n "$$RETRYD_TEST_POSTGRES" || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -q && apt-get install -y -q --no-install-recommends postgresql; } || \
		{ echo "make test needs a PostgreSQL to start: install one (Debian: apt-get install postgresql), or name a server in RETRYD_TEST_POSTGRES" >&2; exit 1; }
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -q && apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core; } || \
		echo "without a Chromium the tests of the page are left out (Debian: apt-get install chromium)" >&2
	@test -d internal/web/testdata/node_modules || { command -v npm >/dev/null && npm ci --no-audit --no-fund --prefix internal/web/testdata; } || \
		echo "without npm the page's check for accessibility is left out" >&2
	go vet ./...
	go test -race $(NO_CHECKPTR) -count=1 -timeout 12m ./...

.PHONY: lint
lint: ## check format, modules and style
	@test -z "$$(gofmt -l .)" || { gofmt -l . >&2; echo "these files need gofmt" >&2; exit 1; }
	go mod tidy -diff
	go run $(GOLANGCI_LINT) run ./...

.PHONY: vuln
vuln: ## look for known vulnerabilities in what is called; asks VULN_DB (vuln.go.dev)
	@out=$$(go run $(GOVULNCHECK) -db $(VULN_DB) ./... 2>&1); code=$$?; printf '%s\n' "$$out"; \
	case "$$out" in *"fetching vulnerabilities"*) echo "NOTHING WAS CHECKED: the vulnerability database at $(VULN_DB) cannot be reached; VULN_DB=URL names a mirror" >&2 ;; esac; \
	exit $$code

.PHONY: bench
bench: ## run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: pictures
pictures: ## take pictures of every page, in light, dark and on a phone, into dist/pictures
	SCREENSHOTS=$(CURDIR)/dist/pictures go test -count=1 -run InABrowser ./internal/web

.PHONY: matrix
matrix: ## every fault on every call, and by chance, in virtual time; print the figures (3 to 11 min)
	go test -count=1 -v -timeout 60m -run 'FaultMatrix|ARetryEndpoint' ./internal/scheduler -whole-matrix

.PHONY: month
month: ## simulate 30 days of configs/fleet.yaml, and two years of clocks; print the tables (10 min)
	go test -count=1 -v -timeout 40m -run 'ThirtyDays|TwoYears|Throttling|ReloadUnderLoad|WrongKeyForAnHour' ./internal/scheduler -whole-fleet

.PHONY: torture
torture: ## kill, freeze and cut off the real binary 772 times, on SQLite and PostgreSQL; print the figures (6 min)
	go test -v -count=1 -timeout 30m ./torture -cycles 500 -events 72

.PHONY: mutants
mutants: ## take each guard out of a copy and see a proof fail (3 min)
	go test -v -count=1 -timeout 30m -run Guard ./torture -mutants

.PHONY: fuzz
fuzz: ## run each fuzz test for FUZZ_TIME (20s)
	@set -e; for package in $$(grep -rl '^func Fuzz' --include='*_test.go' . | xargs dirname | sort -u); do \
		names=$$(go test -list '^Fuzz' $$package); \
		for name in $$(echo "$$names" | grep '^Fuzz'); do \
			echo "$$package $$name"; \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZ_TIME) -fuzzminimizetime 100x $$package; \
		done; \
	done
