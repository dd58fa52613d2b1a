# The verbs of the project. Each installs what it needs; the work is done by the scripts.

# Where Swift and the system's tools may be when PATH does not name them.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin:/opt/swift/usr/bin:/usr/local/swift/usr/bin

export HOME ?= /root

PREFIX ?= /usr/local
DESTDIR ?=
SWIFT ?= swift
# The standard library goes into the programs: they run where there is no Swift.
RELEASE = $(SWIFT) build -c release --static-swift-stdlib

.DEFAULT_GOAL := build
.PHONY: demo demo-vm test build bench bench-flash bench-journal bench-pauses check install uninstall soak fmt clean

# Boots a storm of real disk images through the cache: a before/after table.
demo: build
	scripts/install-dependencies demo
	scripts/demo

# Boots one of these images in QEMU, from the mount to a login prompt.
demo-vm: build
	scripts/install-dependencies demo vm
	scripts/demo-vm

# Everything that proves the product: unit tests, mount tests, the chain of knfsd and NFS clients.
test:
	scripts/install-dependencies build test vm
	$(SWIFT) build --build-tests
	scripts/swift-test
	python3 -m unittest discover -b -s Benchmarks
	scripts/vm/prepare
	scripts/vm/run all

# The release binaries, where `swift build -c release --show-bin-path` says.
build:
	scripts/install-dependencies build
	$(RELEASE)
	scripts/verify-error-register .build/release/forebay .build/release/forebay-server

# Against its peers and limits, in turns, within 10 minutes (BENCH=quick: 2): a table, and JSON and plots in
# REPORT (Benchmarks/report).
bench: build
	scripts/install-dependencies bench
	$(RELEASE) --product test-datastore
	Benchmarks/run

# Reads from flash against reads of the flash file itself.
bench-flash: build
	scripts/install-dependencies bench
	Benchmarks/run flash

# Stable writes with a journal against such writes to a file beside it; bursts, a full log, recovery.
bench-journal: build
	scripts/install-dependencies bench
	$(RELEASE) --product test-datastore
	Benchmarks/run journal

# What clients see when the server dies: the distribution of pauses in several situations.
bench-pauses: build
	scripts/install-dependencies bench
	$(RELEASE) --product test-datastore
	Benchmarks/run pauses

# What a script can check of the style and of the layering.
check:
	scripts/install-dependencies build
	$(SWIFT) format lint --strict --recursive Package.swift Sources Tests
	$(SWIFT) build --build-tests
	$(SWIFT) test --skip-build --filter TidyTests
	scripts/verify-no-foundation

# Honours PREFIX and DESTDIR; mount(8) looks for its helper in /sbin only.
install: build
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install

# Removes what `make install` put there and what mounts that are gone have left; the configuration stays.
uninstall:
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install --remove

# The tests over and over, for SOAK_MINUTES (60).
soak:
	scripts/install-dependencies build test vm
	$(SWIFT) build --build-tests
	scripts/soak

fmt:
	$(SWIFT) format --in-place --recursive Package.swift Sources Tests

clean:
	$(SWIFT) package clean
