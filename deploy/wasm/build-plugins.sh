#!/usr/bin/env bash
# Builds every plugin under plugins-wasm/plugins to target/plugins/<name>/{plugin.toml,plugin.wasm}.
# Does nothing, in about a second, where nothing changed.
#
#   usage: build-plugins.sh [--kit]     (--kit: see toolchain.sh)
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
OUT=$ROOT/target/plugins
BUILD=$ROOT/target/wasm-build
US=$'\x1f' # cargo's own separator, so that paths may hold blanks

environment=$("$HERE/toolchain.sh" "$@")
while IFS= read -r line; do
  if [ -n "$line" ]; then export "${line?}"; fi
done <<<"$environment"

# A small stack, because the engine zero-fills linear memory; no path of this machine in the module.
flags="-Clink-arg=-zstack-size=32768${US}--remap-path-prefix=$ROOT=/openclaw"
flags+="${US}--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
flags+="${US}--remap-path-prefix=$ROOT/target/wasm-kit=/kit"
# Cargo forgets the profile's `strip` for a package with an `opt-level` of its own.
flags+="${US}-Cstrip=symbols"
export CARGO_ENCODED_RUSTFLAGS=$flags
unset RUSTFLAGS

# Our own target directory: the caller's may belong to another compiler.
(cd "$ROOT/plugins-wasm" && CARGO_TARGET_DIR=$BUILD \
  cargo build --locked --release --target wasm32-unknown-unknown --workspace)

# Copied aside and renamed, and only where it changed: a reader never sees half a module.
put() {
  mkdir -p "$(dirname "$2")"
  cmp -s "$1" "$2" || { cp "$1" "$2.new" && mv "$2.new" "$2"; }
}

module_of() {
  local module=$BUILD/wasm32-unknown-unknown/release/${1//-/_}.wasm
  [ -f "$module" ] || { echo "build-plugins: cargo made no module for $1" >&2; exit 1; }
  echo "$module"
}

count=0
for dir in "$ROOT"/plugins-wasm/plugins/*/; do
  name=$(basename "$dir")
  module=$(module_of "$name")
  put "$module" "$OUT/$name/plugin.wasm"
  put "${dir}plugin.toml" "$OUT/$name/plugin.toml"
  printf '  %-16s %8d bytes\n' "$name" "$(stat -c %s "$module")"
  count=$((count + 1))
done

# Guests of other tool kits, for the sandbox's tests only.
for dir in "$ROOT"/plugins-wasm/interop/*/; do
  name=$(basename "$dir")
  module=$(module_of "$name")
  put "$module" "$ROOT/target/plugins-interop/$name.wasm"
done
echo "$count plugins in target/plugins"
