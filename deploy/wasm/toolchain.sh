#!/usr/bin/env bash
# Makes sure that Rust guests can be compiled to wasm32-unknown-unknown, and prints the
# environment that cargo needs for it as `KEY=value` lines (empty where none is needed).
# Progress goes to standard error.
#
#   usage: toolchain.sh [--kit]
#
# In order: the target is installed; rustup can fetch it; or, on Debian, a private kit of
# Debian's own compiler and its library source, unpacked under target/wasm-kit without
# touching the system (no root needed). `--kit` goes straight to the kit, so that CI can
# keep that way working on a machine that does not need it.
set -euo pipefail

TARGET=wasm32-unknown-unknown
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
KIT=$ROOT/target/wasm-kit
# The kit's compiler has to understand the guests' edition and dependencies.
KIT_LEAST_RUST=95

say() { printf 'wasm toolchain: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

installed() {
  local lib
  lib=$(rustc --print target-libdir --target "$TARGET" 2>/dev/null) || return 1
  compgen -G "$lib/libstd-*.rlib" >/dev/null
}

rustup_can_add() {
  command -v rustup >/dev/null || return 1
  say "asking rustup for $TARGET"
  (cd "$ROOT" && timeout 300 rustup target add "$TARGET" >/dev/null 2>&1) || return 1
  installed
}

# A private copy of apt's state: current package lists without root and without a change
# to the machine's own.
private_apt() {
  local tool=$1; shift
  "$tool" -q -o "Dir::State=$KIT/apt/state" -o "Dir::Cache=$KIT/apt/cache" \
    -o Dir::State::status=/var/lib/dpkg/status -o APT::Sandbox::User= \
    -o Debug::NoLocking=true "$@"
}

unpack_kit() {
  rm -rf "$KIT.new" "$KIT/apt" "$KIT/debs"
  mkdir -p "$KIT.new/root" "$KIT/apt/state/lists/partial" "$KIT/apt/cache/archives/partial" "$KIT/debs"
  say "fetching package lists"
  private_apt apt-get update >/dev/null 2>&1 || true # one dead third-party source is no reason to stop
  local minor parts
  minor=$(private_apt apt-cache show rustc-web 2>/dev/null | sed -n 's/^Version: 1\.\([0-9]*\).*/\1/p' | sort -n | tail -1)
  [ -n "$minor" ] || die "Debian's package rustc-web is not to be had; connect to the internet and run: rustup target add $TARGET"
  [ "$minor" -ge "$KIT_LEAST_RUST" ] || die "Debian's rustc-web is 1.$minor, the guests need 1.$KIT_LEAST_RUST; run: rustup target add $TARGET"
  # The compiler's own libraries carry their version in the package name, so they are asked for.
  parts=$(private_apt apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances rustc-web | grep -E '^(libstd-rust-web-(dev|[0-9.]+)|libllvm[0-9]+)$' | sort -u)
  say "downloading Debian's Rust 1.$minor (about 150 MB)"
  # shellcheck disable=SC2086
  (cd "$KIT/debs" && private_apt apt-get download rustc-web rust-web-src $parts >/dev/null 2>&1) ||
    die "the download of Debian's Rust failed; try again, or run: rustup target add $TARGET"
  say "unpacking"
  local deb
  for deb in "$KIT"/debs/*.deb; do
    case $deb in
      */rust-web-src_*) # only the standard library's source is needed, a fifth of the package
        dpkg --fsys-tarfile "$deb" | tar -x -C "$KIT.new/root" --wildcards './usr/src/rustc-*/library/*' './usr/lib/rustlib/src/*' ;;
      *) dpkg -x "$deb" "$KIT.new/root" ;;
    esac
  done
  kit_rustc "$KIT.new"
  rm -rf "$KIT"
  mv "$KIT.new" "$KIT"
}

# Writes the wrapper that lets the compiler find its libraries. On every run, so that a moved
# checkout keeps working; only where it changed, so that cargo does not start afresh.
kit_rustc() {
  local kit=$1 libs
  libs=$(dirname "$(find "$kit/root" -name 'librustc_driver-*.so' | head -1)")
  printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' "$libs" "$kit/root/usr/bin/rustc" >"$kit/rustc.new"
  chmod +x "$kit/rustc.new"
  if cmp -s "$kit/rustc.new" "$kit/rustc"; then rm "$kit/rustc.new"; else mv "$kit/rustc.new" "$kit/rustc"; fi
  "$kit/rustc" -V >/dev/null || die "Debian's Rust in ${kit#"$ROOT/"} does not run; delete that directory and try again"
}

use_kit() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null && [ "$(dpkg --print-architecture)" = amd64 ] ||
    die "the target $TARGET is missing and rustup cannot fetch it; install it (rustup target add $TARGET, or your distribution's rust-std for wasm32)"
  [ -x "$KIT/root/usr/bin/rustc" ] || unpack_kit
  kit_rustc "$KIT"
  local lld
  lld=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
  [ -x "$lld" ] || die "rust-lld is not part of this Rust installation; install Rust with rustup"
  # The kit has no ready-made library for the target, so cargo builds it from source, which
  # a release compiler does only when told that it is a bootstrap.
  printf 'RUSTC=%s\nRUSTC_BOOTSTRAP=1\nCARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=%s\nCARGO_UNSTABLE_BUILD_STD=std,panic_abort\n' \
    "$KIT/rustc" "$lld"
}

cd "$ROOT" # rust-toolchain.toml decides which compiler is asked
if [ "${1:-}" = --kit ]; then use_kit
elif installed; then :
elif rustup_can_add; then say "$TARGET installed"
else use_kit
fi
