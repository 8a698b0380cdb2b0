# make run    install what is missing, build a release, start the gateway in the foreground
# make test   everything automatic
# make check  required for every commit: format, lints, unit and simulation tests
# make soak   long-running tests: 50,000 seeds per simulation, 200 kills, 500 flipped bits per state file, an hour of floods,
#             20,000 mixed calls, 36,000 calls per round of load
# make audit  licences, bans and sources of all dependencies (installs cargo-deny)
# make bench  the figures of docs/figures.md
# make cross  release builds for ARM; make test-arm tests them with calls under emulation
# make release  packages and archives for three machines, in target/dist
# make deb    a Debian package for this machine, in target/debian

CARGO ?= cargo
ARGS ?=

# Includes the tests that need peers, root or an emulator. A single feature set, so that the library is built only once.
ALL = --locked --features peers,appliance,arm

.PHONY: cross test-arm release recipes crates run test soak peers quiet faults appliance check fmt lint unit deps-run deps-bench deps-test openapi docs deb audit bench

run: deps-run
	$(CARGO) build --release --locked
	@./scripts/run.sh $(ARGS)

check: fmt lint unit

fmt:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings

# Unit tests, simulations in virtual time, and the project's own rules.
unit: quiet
	$(CARGO) test $(ALL) --quiet $(TOLD:%=--test %)

test: deps-test fmt lint recipes quiet faults peers appliance

# `unit` without the simulations and the torture cases, which `faults` runs with output: the number of faults
# injected, and the table of cases.
TOLD = sim torture
QUIET = $(filter-out $(TOLD) peers appliance arm,$(basename $(notdir $(wildcard tests/*.rs))) $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)))
quiet:
	$(CARGO) test $(ALL) --quiet --lib --bins --examples $(QUIET:%=--test %)
	$(CARGO) test $(ALL) --quiet --doc

faults:
	$(CARGO) test $(ALL) --quiet $(TOLD:%=--test %) -- --nocapture

# Real phones, load, and the API against its description. Tests of signalling, uploads and others without real-time constraints
# run beside the load test, which leaves most of a core; the others, many of which compare audio or count late frames, run one by one.
PEERS = $(CARGO) test $(ALL) --test peers -- --nocapture
BESIDE = load:: amd::hours_of api_test:: buckets:: digest:: prack:: quality:: registrar:: servers:: session::
peers:
	$(CARGO) build --release --locked
	$(PEERS) --test-threads=2 $(BESIDE)
	$(PEERS) --test-threads=1 $(BESIDE:%=--skip %)

# The Debian package in a bare system: installed, called, killed, upgraded during a call, purged.
appliance: deb
	$(CARGO) test $(ALL) --test appliance -- --nocapture --test-threads=1

# The recipes of the Yocto layer against the style guide of OpenEmbedded.
OELINT = .venv/bin/oelint-adv --quiet --release wrynose --hide info --suppress oelint.vars.homepageping
recipes:
	$(OELINT) $(wildcard yocto/meta-branchline/recipes-*/*/*.bb) yocto/meta-branchline/conf/layer.conf

# Regenerates the crate list of the Yocto recipe after a change of Cargo.lock.
crates:
	./scripts/yocto-crates.py

# Releases for ARM, 64 and 32 bits.
cross:
	./scripts/cross.sh arm64
	./scripts/cross.sh armv7

# Tests them with calls under emulation.
test-arm: deps-test cross
	$(CARGO) test $(ALL) --test arm -- --nocapture --test-threads=1

# Packages and archives for three architectures, SBOM, checksums.
release:
	./scripts/release.sh

soak: export TEST_MINUTES = 600
soak: deps-test
	SIM_SEEDS=50000 $(CARGO) test --locked --release --test sim -- --nocapture
	$(CARGO) build --release --locked
	FLOOD_ROUNDS=36 $(CARGO) test $(ALL) --test peers -- --nocapture --test-threads=1 floods::
	FLOOD_SECONDS=60 $(CARGO) test $(ALL) --test peers -- --nocapture --test-threads=1 scan::
	CRASH_ROUNDS=200 $(CARGO) test $(ALL) --test crash -- --nocapture
	DAMAGE_FLIPS=500 $(CARGO) test $(ALL) --test damage -- --nocapture
	CRASH_ROUNDS=200 $(CARGO) test $(ALL) --test peers -- --nocapture --test-threads=1 crashes_and_bad_lines
	MIXED_CALLS=20000 $(CARGO) test $(ALL) --test peers -- --nocapture --test-threads=1 mixed::
	LOAD_CALLS=36000 $(CARGO) test $(ALL) --test peers -- --nocapture --test-threads=1 load::

deps-run:
	@./scripts/install.sh run

deps-bench:
	@./scripts/install.sh bench

deps-test:
	@./scripts/install.sh test

# Regenerates openapi.json and asyncapi.json after a change of the API or of events; review the diff before you commit it.
openapi:
	BLESS=1 $(CARGO) test $(ALL) --quiet --test openapi

# Regenerates the man pages and shell completions after a change of the commands.
docs:
	BLESS=1 $(CARGO) test $(ALL) --quiet --test cli_docs

# A Debian package for this machine, in target/debian.
deb:
	@./scripts/package.sh

bench: deps-bench
	$(CARGO) build --release --locked
	$(CARGO) bench --locked --bench figures

audit:
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check licenses bans sources
