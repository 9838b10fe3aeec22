# Everything a person does with this repository. `make help` lists it.

PYTHON ?= python3
VENV = .venv/bin
export SNAKEMUX_PYTHON ?= $(CURDIR)/$(VENV)/python
export LANG = C.UTF-8

all: program

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup: ## install what is missing (system packages through apt, Python packages in .venv)
	@scripts/setup

program: ## build the port program and put the Python library beside it, in priv/
	@$(MAKE) -s -C c_src
	@$(MAKE) -s -C python install-priv PRIV_DIR=$(CURDIR)/priv

demo: setup ## two Python workers, streams, a stopped consumer, a killed worker: half a minute
	@mix do compile, run examples/demo/demo.exs

test: setup program test-c test-erlang test-elixir test-python test-legacy ## all tests
	@echo "make test: all passed"

test-c:
	@$(MAKE) -s -C test/c test

# What failed is said once more at the end: the suites print a lot in between.
test-erlang: go-worker
	rebar3 eunit
	rebar3 ct || { find -L _build/test/logs/last -name suite.log -exec awk \
		'/^=case/ { name = $$0 } /^=result *failed/ { print name; on = 1 } /^===/ { on = 0 } on' {} +; exit 1; }

# One test wants a server of grpc-go; where there is no Go it says so.
go-worker:
	@if command -v go >/dev/null; then cd test/go && go build -o ../../_build/go/worker .; fi

test-elixir:
	MIX_ENV=test mix test

test-python:
	@$(MAKE) -s -C python test

test-legacy: program
	@cd test/legacy && $(SNAKEMUX_PYTHON) -m pytest -p no:cacheprovider

check: setup program ## linters, dialyzer, layers, headers, budgets
	scripts/check

check-cost: setup program ## instructions per call against bench/cost.budget; BUDGET=write makes them the budget
	@$(MAKE) -s -C bench cost

check-headers: ## compile c_src against the gRPC headers inside today's grpcio sdist
	scripts/check-headers

asan: setup ## the suite on a port program with AddressSanitizer, UBSan and LeakSanitizer; valgrind; a debug Python
	scripts/asan

tsan: setup ## the suites of the wire and of the input on a port program with ThreadSanitizer
	scripts/tsan

fuzz: setup ## fuzz all parsers of foreign bytes; SECONDS=n for each (60)
	@$(MAKE) -s -C test/fuzz fuzz

soak: setup program ## a realistic load with random kills, every call checked; MINUTES=n (1)
	@$(MAKE) -s -C test/soak soak

bench: setup program ## calls/s and latency beside a bare gRPC client and the old pipes: five minutes
	@$(MAKE) -s -C bench bench

bench-all: setup program ## the same with every kind of work: half an hour
	@$(MAKE) -s -C bench bench-all

bench-legacy: setup program ## the same Python handlers behind the old pipes and behind snakemux, as ratios
	@$(MAKE) -s -C bench all
	@ERL_FLAGS='-pa _build/bench/ebin' mix do compile, run --no-start bench/legacy/bench.exs bench/legacy/results.json
	@$(SNAKEMUX_PYTHON) bench/legacy/plot.py bench/legacy/results.json bench/legacy/legacy.svg

clean: ## remove what was built
	rm -rf _build priv

quickstart: setup ## the code of the README
	@mix do compile, run --no-start examples/quickstart/quickstart.exs

.PHONY: all help setup program quickstart demo test test-c test-erlang go-worker test-elixir test-python test-legacy check check-cost check-headers asan tsan fuzz soak bench bench-all bench-legacy clean
