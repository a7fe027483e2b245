#!/usr/bin/env bash
# Measures the agent as devices get it (`make release`). Figures go to target/bench.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --bins
exec ./target/debug/bench "$@"
