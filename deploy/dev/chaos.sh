#!/usr/bin/env bash
# The long runs: a storm of kills and cuts, kills alone over many executions, and a death at every
# kill point. BLOWS, KILLS, ROUNDS and SEED choose them; a failing seed is printed and can be given
# again, to `./target/debug/chaos points 1 SEED NAME` with the name of one point. Then the long sizes of
# the power cuts, of the damages and of the simulated fleet, each with the seeds that its test names.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --bins
./target/debug/chaos blows "${BLOWS:-200}" ${SEED:+"$SEED"}
./target/debug/chaos kills "${KILLS:-1000}" ${SEED:+"$SEED"}
./target/debug/chaos points "${ROUNDS:-20}" ${SEED:+"$SEED"}
# A disk that is full, 200 times over: needs the right to mount.
cargo test -p openclaw-agent --test full_disk -- --ignored --nocapture
cargo test --workspace --lib -- --ignored --nocapture long_
cargo test --workspace --test fleet -- --ignored --nocapture long_
# MODULES (a million) valid modules that nobody wrote, and as many altered ones: no death, no panic that
# comes through, none over a second of computing, no more than 256 MiB.
cargo run --profile fast -p openclaw-sandbox --example smith -- "${MODULES:-1000000}" "${SEED:-1}"
