#!/usr/bin/env bash
# Fetches the compilers that the templates of `openclaw plugin new` are tested with, pinned, into
# target/template-tools: Zig (for C and Zig, from PyPI: 90 MB, 30 s) and AssemblyScript (from npm:
# 7 s). Nothing is installed outside that directory; where all is there, it does nothing.
#
# What cannot be had is said here and fails its test in tests/it/templates.rs, unless
# OPENCLAW_SKIP_TEMPLATES names the template, such as `zig,c`: then it is not fetched either.
set -euo pipefail

ZIG=0.15.2
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TOOLS=$ROOT/target/template-tools
ASSEMBLYSCRIPT=$(sed -n 's/.*"assemblyscript": "\(.*\)".*/\1/p' "$ROOT/plugins-wasm/templates/assemblyscript/package.json")

say() { printf 'template tools: %s\n' "$*" >&2; }
skipped() { [[ ",${OPENCLAW_SKIP_TEMPLATES:-}," == *",$1,"* ]]; }

# Unpacked aside and renamed: what is there is whole.
zig() {
  local new=$TOOLS/zig-$ZIG.new
  [ -x "$TOOLS/zig-$ZIG/ziglang/zig" ] && return
  say "fetching Zig $ZIG"
  rm -rf "$new"
  timeout 600 python3 -m pip install -q --disable-pip-version-check --no-deps --target "$new" "ziglang==$ZIG" || return 1
  # Three quarters of it are C libraries of systems that no plugin runs on.
  rm -rf "$new"/ziglang/lib/{libc,libcxx,libcxxabi,libtsan,libunwind} "$new/ziglang/doc"
  mv "$new" "$TOOLS/zig-$ZIG"
}

assemblyscript() {
  local to=$TOOLS/assemblyscript-$ASSEMBLYSCRIPT
  [ -x "$to/node_modules/.bin/asc" ] && return
  say "fetching AssemblyScript $ASSEMBLYSCRIPT"
  rm -rf "$to.new"
  mkdir -p "$to.new"
  (cd "$to.new" && timeout 300 npm install --silent --no-audit --no-fund --prefix . "assemblyscript@$ASSEMBLYSCRIPT") || return 1
  mv "$to.new" "$to"
}

mkdir -p "$TOOLS/bin"
if skipped zig && skipped c; then say "SKIPPED: Zig, so nothing is shown of the templates in C and Zig"
elif zig; then ln -sfn "$TOOLS/zig-$ZIG/ziglang/zig" "$TOOLS/bin/zig"
else say "Zig $ZIG cannot be had: the tests of the templates in C and Zig will fail"; fi
if skipped assemblyscript; then say "SKIPPED: AssemblyScript, so nothing is shown of its template"
elif assemblyscript; then ln -sfn "$TOOLS/assemblyscript-$ASSEMBLYSCRIPT/node_modules/.bin/asc" "$TOOLS/bin/asc"
else say "AssemblyScript $ASSEMBLYSCRIPT cannot be had: the test of its template will fail"; fi
