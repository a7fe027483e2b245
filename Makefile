# The few verbs. Each is one line into a script or cargo.
# Everything sets itself up: on a fresh Debian with Rust, `make demo` and `make test` are enough.

CARGO ?= cargo
# nextest where it is installed, else cargo's own runner: the tests are the same.
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo nextest)
RUN_TESTS := $(if $(NEXTEST),$(CARGO) nextest run --workspace,$(CARGO) test --workspace)

.PHONY: demo dev test check plugins templates setup release server bench chaos simulate arm fuzz clean help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: plugins ## the main job, played before your eyes: kills, cuts, restarts, and the ledger
	$(CARGO) build --bins
	./target/debug/openclaw dev --demo $(ARGS)

dev: plugins ## a control plane and three agents to play with
	$(CARGO) build --bins
	./target/debug/openclaw dev $(ARGS)

test: setup templates plugins check release ## everything that CI runs
	$(CARGO) build --bins --tests
	$(RUN_TESTS)
	$(CARGO) test --manifest-path tests/redb-control/Cargo.toml

check: ## format and lints, of the guests' workspace too
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	./deploy/wasm/check-plugins.sh

plugins: ## compile the WebAssembly plugins from source
	./deploy/wasm/build-plugins.sh

templates: setup ## compilers that the templates of plugins are tested with, into target/template-tools
	./deploy/wasm/template-tools.sh

setup: ## what the tests need from the system
	./deploy/dev/setup.sh

release: ## the agent as devices get it, and what measures and attacks it
	$(CARGO) build --release -p openclaw-agent --bin openclaw-agent
	$(CARGO) build --release -p openclaw-sandbox -p openclaw-protocol -p openclaw-agent-core $(addprefix --example ,one_big_slice bare_loop call_cost expr_loop replay_digests)

server: ## control plane and command line, as a server gets them
	$(CARGO) build --profile server -p openclaw-control-plane -p openclaw --bins

bench: plugins release ## figures into target/bench.json
	./deploy/dev/bench.sh

chaos: setup plugins ## the long runs: kills and cuts, deaths at every kill point, power cuts, damages, a fleet, odd modules
	./deploy/dev/chaos.sh

simulate: ## 10,000 random lives of the engine against a naive model (OPENCLAW_SIMULATE=NUMBER: that one)
	$(CARGO) test --profile fast -p openclaw-agent-core --lib -- --ignored --nocapture ten_thousand_lives

arm: ## the pure core's tests and the replay corpus on ARM, emulated (LONG=no: without the tests)
	./deploy/dev/arm.sh

fuzz: ## parser, expressions and engine against inputs nobody thought of, 60 s each
	./tests/fuzz/run.sh

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf plugins-wasm/target tests/fuzz/target tests/redb-control/target
