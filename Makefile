# What one does with this repository; "make" alone prints the list. Needs Go and
# nothing else for build, run and install. Scripts for the longer recipes are in
# internal/ci.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=

# Pinned, so that a new release of a tool can't fail a build that was good.
STATICCHECK_VERSION := v0.8.2
GOVULNCHECK_VERSION := v1.9.0
STATICCHECK := bin/tools/staticcheck-$(STATICCHECK_VERSION)/staticcheck
GOVULNCHECK := bin/tools/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck

# The binary knows its commit where git can tell it.
BUILDVCS := $(shell git rev-parse --verify -q HEAD >/dev/null 2>&1 && echo auto || echo false)

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/fileio_tgt, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$(BUILDVCS) -o bin/fileio_tgt ./cli/fileio_tgt

.PHONY: run
run: build image.img ## serve image.img (64 MiB, created if there is none) until Ctrl-C; ARGS='...' adds options
	@echo "serving image.img over NBD; Ctrl-C stops"
	@exec bin/fileio_tgt $(ARGS) -f image.img

image.img:
	@echo "creating image.img, 64 MiB, sparse"
	@truncate -s 64M $@

.PHONY: install
install: build ## into PREFIX (/usr/local), with the manual page; DESTDIR for packagers
	install -D -m 0755 bin/fileio_tgt $(DESTDIR)$(PREFIX)/bin/fileio_tgt
	install -D -m 0644 docs/fileio_tgt.8 $(DESTDIR)$(PREFIX)/share/man/man8/fileio_tgt.8

.PHONY: install-units
install-units: ## packaging's systemd units into PREFIX/lib/systemd/system
	install -D -m 0644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system packaging/fileio_tgt@.service packaging/fileio_tgt@.socket

.PHONY: deps
deps: ## install the programs that the tests check us with, if they are missing
	@internal/ci/apt.sh

.PHONY: test
test: deps ## all tests, with the race detector
	$(GO) test -race -shuffle=on -timeout 20m ./...
	@echo "schedules, of which the race detector leaves time for few:"
	$(GO) test -count=1 -run '^TestExplore' ./ucmd
	@echo "allocations, which the race detector falsifies:"
	$(GO) test -count=1 -run 'NoAllocation|DoNotAllocate|AllocatesNothing' ./nbd ./handlers/... ./target ./ucmd/... ./scsi ./ioctl/client ./ioctl/node

.PHONY: vm-deps
vm-deps: ## install what the tests in a virtual machine need (QEMU, a kernel in a cache), if it is missing
	@internal/ci/vm.sh

.PHONY: test-vm
test-vm: vm-deps ## tests with a real Linux kernel as client, in a virtual machine; some minutes
	SCSTUSER_VM=1 $(GO) test -count=1 -p 1 -timeout 15m ./internal/vm/... ./internal/powercut

.PHONY: explore
explore: ## every schedule of the lifecycle that EXPLORETIME (60s) for each plan allows, and every fault
	$(GO) test -count=1 -timeout 0 -run 'TestExplore' -v ./ucmd -explore.time $(or $(EXPLORETIME),60s)

.PHONY: bench
bench: deps ## speed, side by side with nbdkit and qemu-nbd; ARGS='...' goes to the program
	$(GO) run ./internal/nbdbench $(ARGS)

.PHONY: bench-scale
bench-scale: ## what a request costs with 1 to 1000 connections and exports; half a minute
	$(GO) run ./internal/nbdscale $(ARGS)

.PHONY: bench-ioctl
bench-ioctl: ## what a command costs through the node, with handlers in C and Go in their own processes; needs root and /dev/fuse
	$(GO) run ./internal/benchioctl $(ARGS)

.PHONY: bench-lifecycle
bench-lifecycle: ## what a command costs from parse to on-free, as tables; a minute; BENCHCOUNT (3)
	$(GO) test -run '^$$' -bench '^BenchmarkLifecycle$$' -benchtime 200ms -count $(or $(BENCHCOUNT),3) ./handlers | $(GO) run ./internal/benchlifecycle -max 1000

.PHONY: lint
lint: gofmt vet staticcheck vuln ## gofmt, go vet, staticcheck, known vulnerabilities

.PHONY: gofmt
gofmt:
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted, run gofmt -w on:"; echo "$$files"; exit 1; }

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: staticcheck
staticcheck: $(STATICCHECK)
	$(STATICCHECK) ./...

.PHONY: vuln
vuln: $(GOVULNCHECK)
	@internal/ci/vuln.sh $(GOVULNCHECK) ./...

$(STATICCHECK):
	GOBIN=$(abspath $(@D)) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)

$(GOVULNCHECK):
	GOBIN=$(abspath $(@D)) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	@internal/ci/fuzz.sh

.PHONY: soak
soak: build deps ## devices killed under load, SOAKCYCLES (10000) times; verified I/O with clients killed, for SOAKTIME (600) s
	@internal/ci/soak.sh
	@$(MAKE) --no-print-directory soak-power

.PHONY: soak-power
soak-power: vm-deps ## the power of a virtual machine cut POWERCUTS (100) times, and what was acknowledged compared; half an hour
	SCSTUSER_VM=1 $(GO) test -count=1 -v -timeout 8h -run '^TestI6PowerCuts$$' ./internal/powercut -powercut.cuts $(or $(POWERCUTS),100)

.PHONY: cover
cover: deps ## test coverage by function; bin/cover.out is for go tool cover -html
	@mkdir -p bin
	$(GO) test -timeout 20m -coverpkg=./... -coverprofile=bin/cover.out ./...
	$(GO) tool cover -func=bin/cover.out

.PHONY: clean
clean: ## remove what was built; image.img stays, it may hold your data
	rm -rf bin
