# Everything that is done with this tree, by name. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CGO_ENABLED := 0
# for the tools too: what is compiled with other flags is compiled once more
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath

VERSION ?= $(shell deploy/packages/version)
LDFLAGS := -s -w -X main.version=$(VERSION)
# without gRPC's own pages of traces, which nobody serves: their templates have the linker keep each
# method of each library, half of a program
TAGS := grpcnotrace
# of programs and tests alike, so that each package is compiled once; nobody debugs what is linked for
# a test, and `make lint` vets
GO_TEST := go test -trimpath -vet=off -ldflags '-s -w' -tags
SLOWLY := deploy/lab/slowly 'compiling, which takes minutes the first time'
BUF := go tool -modfile=deploy/tools/buf.mod buf
comma := ,
LINT := go tool -modfile=deploy/tools/lint.mod golangci-lint
VULNS := go tool -modfile=deploy/tools/vuln.mod govulncheck

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Show a primary under load get a verified replica (KEEP=1 leaves it up, DEMO_REPORT=file writes figures, PROVIDER=ec2, LAB=name)
	@# what builds the images is compiled first: two compilers at a time would both compile all of it
	@deploy/lab/setup demo packages & packages=$$!; $(SLOWLY) go build -trimpath -tags $(TAGS) -o bin/ ./controlplane/cmd/understudy-lab; wait $$packages
	@deploy/lab/setup demo images & images=$$!; $(SLOWLY) $(MAKE) --no-print-directory build; wait $$images
	@bin/demo $(if $(LAB),--lab "$(LAB)") up $(if $(PROVIDER),--provider "$(PROVIDER)") $(if $(KEEP),--keep) $(if $(DEMO_REPORT),--report "$(DEMO_REPORT)")

.PHONY: demo-down
demo-down: ## Remove what `make demo KEEP=1` left up (LAB=name)
	@[ -x bin/demo ] || $(MAKE) --no-print-directory build
	@bin/demo $(if $(LAB),--lab "$(LAB)") down

.PHONY: test
test: setup build ## Run the tests, those on real hosts included (needs root), in ten minutes
	@# the longest first, and one more at a time than there are cores: they wait for hosts
	$(GO_TEST) lab,$(TAGS) -timeout 50m -p $$(($$(nproc) + 1)) -skip '^TestLong' \
		./deploy/... ./agent/... ./controlplane/... ./proto/...

.PHONY: test-long
test-long: setup build ## Run the tests that `make test` leaves out, those called TestLong… (needs root)
	$(GO_TEST) lab,$(TAGS) -timeout 50m -p $$(($$(nproc) + 1)) -run '^TestLong' \
		$$(grep -rl --include='*_test.go' '^func TestLong' deploy agent controlplane proto | xargs dirname | sort -ru | sed 's,^,./,')

.PHONY: test-faults
test-faults: setup build ## Run the whole fault matrix on real hosts, and write its table to docs/faults.md (ROW=H1 runs some; PROVIDER=ec2 those about volumes; goes on where it was interrupted)
	FAULTS_ALL=1 FAULTS_PROVIDER=$(PROVIDER) FAULTS_LABS=$(if $(ROW),1,4) $(if $(ROW),,FAULTS_RESULTS=$(CURDIR)/bin/faults$(PROVIDER).json FAULTS_PAGE=$(CURDIR)/docs/$(if $(PROVIDER),$(PROVIDER),faults).md) \
		$(GO_TEST) lab,$(TAGS) -count=1 -v -timeout 90m -run '^TestFaults$$$(if $(ROW),/$(ROW))' ./deploy/faults

.PHONY: test-mutants
test-mutants: setup build ## Take out the code that carries a row of the matrix, and see the row fail, one after the other
	$(GO_TEST) lab,mutants,$(TAGS) -count=1 -v -timeout 30m -run TestMutants ./deploy/faults

.PHONY: test-unit
test-unit: ## Run the tests that need nothing but Go
	@# some wait more than they work, and the longest begin first
	deploy/lab/in-memory $(GO_TEST) $(TAGS) -p $$((2 * $$(nproc))) -parallel $$((4 * $$(nproc))) -skip '^TestLong' \
		./controlplane/internal/{app,workflow,job,store} ./...

.PHONY: test-ec2
test-ec2: setup build ## Run a hundred jobs against an EC2 that misbehaves at random
	EC2_JOBS=100 $(GO_TEST) lab,$(TAGS) -count=1 -v -timeout 40m -run '^TestLongManyJobs$$' ./deploy/e2e

.PHONY: test-aws
test-aws: build ## Test the provider ec2 at Amazon, in about an hour for about one US dollar (needs an account and variables: docs/first-day.md)
	swept() { $(GO_TEST) aws,$(TAGS) -count=1 -v -timeout 1h -run '^TestAmazonSwept$$' ./controlplane/internal/provider/ec2/ec2test; }; \
	trap swept EXIT; trap 'exit 130' INT TERM; \
	$(GO_TEST) aws,$(TAGS) -count=1 -v -timeout 3h -parallel 2 -run '^TestAmazon(Conformance|Story)$$' ./controlplane/internal/provider/ec2/ec2test

.PHONY: test-aws-sweep
test-aws-sweep: ## Remove what a `make test-aws` left that was killed
	$(GO_TEST) aws,$(TAGS) -count=1 -v -timeout 1h -run '^TestAmazonSwept$$' ./controlplane/internal/provider/ec2/ec2test

.PHONY: test-crashes
test-crashes: setup build ## Run a hundred jobs on real hosts while things die at random (CRASHES=20 runs some, SEED=7 runs the same again)
	CRASHES=$(or $(CRASHES),100) CRASH_SEED=$(SEED) FAULTS_LABS=2 $(GO_TEST) lab,$(TAGS) -count=1 -v -timeout 60m -run '^TestLongCrashes$$' ./deploy/faults

.PHONY: test-vm
test-vm: build ## Run the story on virtual machines that lose power, devices and the time; without KVM it takes most of an hour (RUN=TestHost runs one)
	@rm -rf bin/packages && $(MAKE) --no-print-directory packages ARCHS=amd64 FORMATS=deb
	VM_IMAGE=$$(deploy/vm/setup) && export VM_IMAGE && \
		go test -tags vm -count=1 -v -timeout 3h $(if $(RUN),-run '^$(RUN)$$') ./deploy/vm

.PHONY: figures
figures: ## Measure how one control plane follows AGENTS=1000 agents: time to notice, memory, processor
	AGENTS=$(or $(AGENTS),1000) go test -tags figures -count=1 -v -timeout 30m -run '^TestFigures$$' ./controlplane/internal/fleet

.PHONY: race
race: ## Run the tests that need nothing but Go, with the race detector
	CGO_ENABLED=1 go test -race -timeout 30m ./...

.PHONY: fuzz
fuzz: ## Run all fuzz targets, each for FUZZTIME=10s
	@grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z]+' agent controlplane proto | while IFS=: read -r file _ func; do \
		echo "$$(dirname $$file) $${func#func }"; go test -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(or $(FUZZTIME),10s) ./$$(dirname $$file) || exit 1; done

.PHONY: build
build: ## Build the programs into bin/
	@mkdir -p bin
	go build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/ ./controlplane/cmd/understudy ./controlplane/cmd/understudy-lab ./agent/cmd/understudy-agent ./deploy/demo

.PHONY: packages
packages: ## Build deb and rpm packages into bin/packages, the same bytes each time (ARCHS=amd64 and FORMATS=deb build some, VERSION=0.1.1 names them)
	VERSION='$(VERSION)' ARCHS='$(ARCHS)' FORMATS='$(FORMATS)' deploy/packages/build

.PHONY: setup
setup: ## Install the Debian packages and build the host images that tests and demo need
	@deploy/lab/setup

.PHONY: lint
lint: ## Check the Go code, what is known to be wrong with its modules, the proto files and their compatibility
	$(BUF) lint
	$(BUF) breaking --against proto/lock.binpb
	$(LINT) run --allow-parallel-runners ./...
	@# what the programs call of the modules that they are built with, by the snapshot of deploy/vulns
	$(VULNS) -db file://$(CURDIR)/deploy/vulns/db -tags $(TAGS) ./controlplane/cmd/understudy ./agent/cmd/understudy-agent

.PHONY: generate
generate: ## Generate Go code from the proto files
	$(BUF) generate

.PHONY: generate-check
generate-check: generate ## Fail when generated code or go.mod is not what is committed
	go mod tidy -diff
	@git diff --exit-code -- '*.pb.go' go.mod go.sum || { echo 'generated files differ: run `make generate` and commit'; exit 1; }

.PHONY: proto-lock
proto-lock: ## Take the proto files as they are as the ones to stay compatible with
	$(BUF) build --as-file-descriptor-set -o proto/lock.binpb

.PHONY: errors
errors: ## Collect what the tests that need nothing but Go are refused with, and write docs/errors.md (LAB=1 takes those on real hosts too)
	@mkdir -p bin && rm -f bin/refusals.jsonl
	UNDERSTUDY_REFUSALS=$(CURDIR)/bin/refusals.jsonl go test -count=1 -tags refusals$(if $(LAB),$(comma)lab) ./agent/internal/... ./controlplane/internal/... ./proto/...
	go test -count=1 ./deploy/refusals -update -record $(CURDIR)/bin/refusals.jsonl

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
