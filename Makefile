# make run    install what is missing, build a release, start the gateway in the foreground
# make test   everything automatic
# make check  what every commit must pass: format, lints, unit and simulation tests
# make soak   the same for hours: 50,000 seeds a simulation, 200 kills, 500 flipped bits a state file, an hour of floods, 20,000
#             mixed calls, 36,000 calls a round of load
# make audit  licences, bans and sources of all dependencies (installs cargo-deny)
# make bench  the figures of docs/figures.md
# make cross  releases for ARM, and make test-arm calls to them under emulation
# make release  packages and archives for three machines, in target/dist
# make deb    a Debian package for this machine, in target/debian

CARGO ?= cargo
ARGS ?=

# With the tests that take peers, root or an emulator. One set of features, so that the library is built once for all.
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

# Unit tests, simulations in virtual time, and the rules of the house.
unit: quiet
	$(CARGO) test $(ALL) --quiet $(TOLD:%=--test %)

test: deps-test fmt lint recipes quiet faults peers appliance

# `unit` without the simulations and the torture cases, which `faults` runs for what they tell as well: which faults
# were injected, and the table of cases.
TOLD = sim torture
QUIET = $(filter-out $(TOLD) peers appliance arm,$(basename $(notdir $(wildcard tests/*.rs))) $(patsubst tests/%/main.rs,%,$(wildcard tests/*/main.rs)))
quiet:
	$(CARGO) test $(ALL) --quiet --lib --bins --examples $(QUIET:%=--test %)
	$(CARGO) test $(ALL) --quiet --doc

faults:
	$(CARGO) test $(ALL) --quiet $(TOLD:%=--test %) -- --nocapture

# Real phones, load, and the API against its description. Tests of signalling, of uploads and of what needs no real time run
# beside the load, which leaves most of a core; the others, many of which compare sound or count what is late, run one by one.
PEERS = $(CARGO) test $(ALL) --test peers -- --nocapture
BESIDE = load:: amd::hours_of api_test:: buckets:: digest:: prack:: quality:: registrar:: servers:: session::
peers:
	$(CARGO) build --release --locked
	$(PEERS) --test-threads=2 $(BESIDE)
	$(PEERS) --test-threads=1 $(BESIDE:%=--skip %)

# The package in a bare Debian: installed, called, killed, upgraded during a call, purged.
appliance: deb
	$(CARGO) test $(ALL) --test appliance -- --nocapture --test-threads=1

# The recipes of the Yocto layer against the style guide of OpenEmbedded.
OELINT = .venv/bin/oelint-adv --quiet --release wrynose --hide info --suppress oelint.vars.homepageping
recipes:
	$(OELINT) $(wildcard yocto/meta-branchline/recipes-*/*/*.bb) yocto/meta-branchline/conf/layer.conf

# The list of crates of the Yocto recipe, after a change of Cargo.lock.
crates:
	./scripts/yocto-crates.py

# Releases for ARM, 64 and 32 bits.
cross:
	./scripts/cross.sh arm64
	./scripts/cross.sh armv7

# Calls to them, under emulation.
test-arm: deps-test cross
	$(CARGO) test $(ALL) --test arm -- --nocapture --test-threads=1

# Packages and archives for three machines, the bill of materials, checksums.
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

# Writes openapi.json and asyncapi.json anew after a change of the API or of events; read the difference before you commit it.
openapi:
	BLESS=1 $(CARGO) test $(ALL) --quiet --test openapi

# Writes the man pages and the completions of shells anew after a change of the commands.
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
