#!/usr/bin/env bash
# Builds the agent as devices get it, and measures it. Figures go to target/bench.json.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release -p openclaw-agent --bin openclaw-agent
cargo build --bins
exec ./target/debug/bench "$@"
