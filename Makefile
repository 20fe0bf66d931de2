.DEFAULT_GOAL := help
GOLANGCI_LINT = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
VULN_DB ?= https://vuln.go.dev
GORELEASER = github.com/goreleaser/goreleaser/v2@v2.15.1
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
FUZZ_TIME ?= 20s
IMAGE_ARCHS ?= amd64 arm64
# The race detector takes half of the time in SQLite, which is C turned into Go with locks of its own: it
# stays on for everything else. The packages around that C are left to it too: what they make of the
# library's generic code, such as sync.Map, the linker takes for the whole program.
NO_RACE_IN_SQLITE = -gcflags='modernc.org/...=-d=checkptr=0' -gcflags='modernc.org/sqlite/lib=-d=checkptr=0 -race=false'

# All but the tests with the race detector is compiled as a release is, so that it is compiled once: on a
# machine with two cores each other way takes a minute and a half.
AS_RELEASED = CGO_ENABLED=0 GOFLAGS="$(GOFLAGS) -trimpath"

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## watch a failing fleet recover
	go run ./cmd/retryd demo

.PHONY: build
build: ## build bin/retryd
	CGO_ENABLED=0 go build -trimpath -buildvcs=auto -o bin/retryd ./cmd/retryd

.PHONY: cross
cross: ## build for every platform that a release is made for, and throw it away
	@set -e; for platform in $(PLATFORMS); do echo $$platform; \
		CGO_ENABLED=0 GOOS=$${platform%/*} GOARCH=$${platform#*/} go build -trimpath -o /dev/null ./cmd/retryd; done

.PHONY: reproducible
reproducible: ## build as a release does in two folders, without a cache, and compare the bytes
	go test -v -count=1 -timeout 30m -run SameBytes ./deploy/release -cold

.PHONY: snapshot
snapshot: ## make in dist what a release has, and publish nothing
	go run $(GORELEASER) release --snapshot --clean

.PHONY: install
install: ## install program, unit, man page, completions, docs: DESTDIR= PREFIX=/usr/local
	@test -x bin/retryd || $(MAKE) build # root may have no Go
	DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) sh deploy/packages/install.sh bin/retryd

.PHONY: packages
packages: ## build a deb and an rpm for each of ARCHS (amd64 arm64) into dist/packages
	VERSION=$(VERSION) sh deploy/packages/build.sh $(ARCHS)

.PHONY: test-systemd
test-systemd: build ## boot Debian 12's and 13's systemd and run the deb under it; needs root, cgroup2, debootstrap
	rm -rf dist/systemd && mkdir -p dist/systemd
	for version in v0.0.1 v0.0.2; do VERSION=$$version sh deploy/packages/build.sh amd64 && cp dist/packages/*.deb dist/systemd/$$version.deb || exit 1; done
	for suite in bookworm trixie; do sh deploy/systemd/real.sh $$suite dist/systemd/v0.0.1.deb dist/systemd/v0.0.2.deb || exit 1; done

.PHONY: alerts
alerts: ## write the rules of Prometheus into dist/prometheus, with links to runbooks at RUNBOOKS
	@test -n "$(RUNBOOKS)" || { echo "say where your people read docs/runbooks: make alerts RUNBOOKS=https://wiki.example.com/retryd" >&2; exit 1; }
	@mkdir -p $(or $(ALERTS_DIR),dist/prometheus)
	cp deploy/prometheus/rules.yaml $(or $(ALERTS_DIR),dist/prometheus)/
	sed 's|runbook_url: docs/runbooks/|runbook_url: $(RUNBOOKS:/=)/|' deploy/prometheus/alerts.yaml > $(or $(ALERTS_DIR),dist/prometheus)/alerts.yaml

.PHONY: dashboards
dashboards: ## write the dashboards of Grafana, and read them with Grafana's own types
	go test -count=1 -run TheirPanels ./deploy/grafana -update
	cd deploy/grafana/verify && go vet ./... && go test -count=1 ./...

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
	@command -v promtool >/dev/null && command -v prometheus-alertmanager >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -q && RUNLEVEL=1 apt-get install -y -q --no-install-recommends prometheus prometheus-alertmanager; } || \
		echo "without a Prometheus and an Alertmanager the tests of rules and dashboards are left out (Debian: apt-get install prometheus prometheus-alertmanager)" >&2
	$(AS_RELEASED) go vet ./...
	go test -race $(NO_RACE_IN_SQLITE) -count=1 -timeout 20m ./...

.PHONY: lint
lint: ## check format, modules and style
	@test -z "$$(gofmt -l .)" || { gofmt -l . >&2; echo "these files need gofmt" >&2; exit 1; }
	go mod tidy -diff
	$(AS_RELEASED) go run $(GOLANGCI_LINT) run ./...

.PHONY: vuln
vuln: ## look for known vulnerabilities in what is called; asks VULN_DB (vuln.go.dev)
	@out=$$(go run $(GOVULNCHECK) -db $(VULN_DB) ./... 2>&1); code=$$?; printf '%s\n' "$$out"; \
	case "$$out" in *"fetching vulnerabilities"*) echo "NOTHING WAS CHECKED: the vulnerability database at $(VULN_DB) cannot be reached; VULN_DB=URL names a mirror" >&2 ;; esac; \
	exit $$code

.PHONY: bench
bench: ## run the benchmarks
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-build
bench-build:
	CGO_ENABLED=0 go build -trimpath -o dist/bench/bench ./bench

.PHONY: bench-compare
bench-compare: bench-build ## measure retryd against the official SDK and bare net/http: BENCH="--failing=30000 --runs=3" (1 min)
	dist/bench/bench compare $(BENCH)

# The others: make bench-scale, -few, -rate, -ledger, -idle, -connections, -replicas; docs/scaling.md has what they came to.
bench-%: bench-build
	dist/bench/bench $* $(BENCH)

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

.PHONY: image-files
image-files: ## build what deploy/container/Dockerfile copies into dist/image, for each of IMAGE_ARCHS
	@rm -rf dist/image/data && mkdir -p dist/image/data && mkdir -m 0700 dist/image/data/retryd
	@set -e; for arch in $(IMAGE_ARCHS); do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -ldflags='-s -w' -o dist/image/linux_$$arch/retryd ./cmd/retryd; \
	done

.PHONY: image
image: IMAGE_ARCHS = $(shell go env GOARCH)
image: image-files ## build the container image retryd:local, with docker or buildah
	@args="--build-arg TARGETARCH=$(IMAGE_ARCHS) --build-arg VERSION=$$(dist/image/linux_$(IMAGE_ARCHS)/retryd version | cut -d' ' -f2) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) -t retryd:local -f deploy/container/Dockerfile dist/image"; \
	if docker info >/dev/null 2>&1; then docker build $$args; else buildah build --isolation chroot --format docker $$args; fi

.PHONY: chart-files
chart-files: ## bring the chart's copies of rules, dashboards and schema up to date
	cd deploy/kubernetes/verify && go test -count=1 -run Copies -update .

.PHONY: test-deploy
test-deploy: ## test the image, the chart, the kustomization and the dashboards' types; needs buildah (Debian: apt-get install buildah)
	cd deploy/kubernetes/verify && $(AS_RELEASED) go vet ./... && $(AS_RELEASED) go test -count=1 -timeout 10m ./...
	cd deploy/grafana/verify && $(AS_RELEASED) go vet ./... && $(AS_RELEASED) go test -count=1 ./...

.PHONY: fuzz
fuzz: ## run each fuzz test for FUZZ_TIME (20s)
	@set -e; for package in $$(grep -rl '^func Fuzz' --include='*_test.go' . | xargs dirname | sort -u); do \
		names=$$($(AS_RELEASED) go test -list '^Fuzz' $$package); \
		for name in $$(echo "$$names" | grep '^Fuzz'); do \
			echo "$$package $$name"; \
			$(AS_RELEASED) go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZ_TIME) -fuzzminimizetime 100x $$package; \
		done; \
	done
