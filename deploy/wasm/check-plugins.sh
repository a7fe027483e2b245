#!/usr/bin/env bash
# Format, lints and host-side tests of the guests' own workspace. What they do as guests is tested
# in the sandbox (agent/sandbox/tests).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../plugins-wasm"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/../target}/wasm-build
cargo fmt --all --check
cargo clippy --locked --workspace --all-targets -- -D warnings
cargo test --locked --workspace --quiet
