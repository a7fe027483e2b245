#!/usr/bin/env bash
# The long runs. BLOWS and SEED choose the storm; a failing seed is printed and can be given again.
# Then the long sizes of the power cuts and of the damages, each with the seeds that its test names.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --bins
./target/debug/chaos "${BLOWS:-200}" ${SEED:+"$SEED"}
# A disk that is full, 200 times over: needs the right to mount.
cargo test -p openclaw-agent --test full_disk -- --ignored --nocapture
cargo test --workspace --lib -- --ignored --nocapture long_
