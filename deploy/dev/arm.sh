#!/usr/bin/env bash
# The pure core on ARM, emulated: the replay corpus, random lives, and the tests of both pure crates.
# Digests and figures are compared, line by line, with those of this machine.
#
# On x86-64 Debian it sets itself up, without root, in target/arm (about 1.1 GB): from Debian a Rust
# compiler with the standard library for arm64 of the very same version, the C library to run with,
# and the emulator; from PyPI the linker (ziglang) and its cargo command. It changes nothing outside
# target/. Where the pieces are not to be had it says SKIPPED, and ends with 77.
#
# LIVES: which random lives of `make simulate` both sides live, 0..1000 where it is not set.
# LONG=no: corpus and lives only, without the crates' own tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

lives=${LIVES:-0..1000}
target=aarch64-unknown-linux-gnu
glibc=2.31
root=$(realpath -m "${CARGO_TARGET_DIR:-target}")/arm
kit=$root/kit
log=$root/setup.log

skip() {
  echo "arm: SKIPPED: $1" >&2
  exit 77
}

# Fetches packages without installing them: fetch DIR APT-GET-ARGUMENT...
fetch() {
  (cd "$1" && apt-get -qq "${@:2}") >>"$log" 2>&1
}

# The first of a package's dependencies with that beginning: depends FILE BEGINNING
depends() {
  dpkg-deb -f "$1" Depends | grep -oE "(^|[ ,])$2[-0-9.]*" | tr -d ' ,' | head -1
}

set_up() {
  local command
  for command in apt-get dpkg-deb python3; do
    command -v $command >/dev/null || skip "there is no $command here"
  done
  rm -rf "$kit"
  mkdir -p "$kit"/{host,arm64,native,foreign,apt/lists/partial,apt/archives/partial}
  : >"$log"
  native
  foreign
  rm -rf "$kit"/{native,foreign,apt}
  linker
  programs
  touch "$kit/complete"
}

# The compiler that Debian keeps new for its browsers, and the emulator.
native() {
  fetch "$kit/native" download rustc-web libstd-rust-web-dev qemu-user-static ||
    skip "rustc-web and qemu-user-static cannot be fetched (apt-get update?); see $log"
  fetch "$kit/native" download "$(depends "$kit"/native/libstd-rust-web-dev_*.deb libstd-rust-web)" ||
    skip "the compiler's library cannot be fetched; see $log"
  fetch "$kit/native" download "$(depends "$kit"/native/libstd-rust-web-[0-9]*.deb libllvm)" ||
    skip "the compiler's LLVM cannot be fetched; see $log"
  local package
  for package in "$kit"/native/*rust*.deb "$kit"/native/libllvm*.deb; do
    dpkg-deb -x "$package" "$kit/host"
  done
  dpkg-deb --fsys-tarfile "$kit"/native/qemu-user-static_*.deb |
    tar -x -C "$kit/host" ./usr/bin/qemu-aarch64-static
}

# The standard library for arm64, of the compiler's version; and what a program is run with.
foreign() {
  local version package
  version=$(dpkg-deb -f "$kit"/native/rustc-web_*.deb Version)
  local options=(-o APT::Architecture=arm64 -o APT::Architectures=arm64
    -o "Dir::State::Lists=$kit/apt/lists" -o "Dir::Cache=$kit/apt"
    -o "APT::Sandbox::User=$(id -un)")
  fetch "$kit/foreign" "${options[@]}" update || skip "no package lists for arm64; see $log"
  fetch "$kit/foreign" "${options[@]}" download "libstd-rust-web-dev=$version" libc6 libgcc-s1 ||
    skip "no arm64 library of $version: the mirror may be in the middle of an update; see $log"
  dpkg-deb -x "$kit"/foreign/libstd-rust-web-dev_*.deb "$kit/host"
  for package in libc6 libgcc-s1; do
    dpkg-deb -x "$kit/foreign/$package"_*.deb "$kit/arm64"
  done
}

linker() {
  python3 -m venv "$kit/venv" >>"$log" 2>&1 || skip "python3 -m venv fails: is python3-venv there?"
  "$kit/venv/bin/pip" -q --disable-pip-version-check install ziglang cargo-zigbuild >>"$log" 2>&1 ||
    skip "ziglang and cargo-zigbuild cannot be fetched; see $log"
}

# Two small programs: the compiler with its libraries, and what runs a program for ARM.
programs() {
  printf '#!/bin/sh\nLD_LIBRARY_PATH="%s" exec "%s" "$@"\n' \
    "$kit/host/usr/lib/x86_64-linux-gnu" "$kit/host/usr/bin/rustc" >"$kit/rustc"
  printf '#!/bin/sh\nexec "%s" -L "%s" "$@"\n' \
    "$kit/host/usr/bin/qemu-aarch64-static" "$kit/arm64" >"$kit/run"
  chmod +x "$kit/rustc" "$kit/run"
  "$kit/rustc" -V >>"$log" 2>&1 || skip "the compiler does not run; see $log"
  local has wants
  has=$("$kit/rustc" -V | cut -d' ' -f2)
  wants=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  printf '%s\n' "$wants" "$has" | sort -CV ||
    skip "Debian's compiler is $has here, and $wants is needed: apt-get update, with bookworm-security"
}

here() {
  cargo "$@"
}

# The same for ARM. Another profile, too: what is decided must not depend on the optimiser.
arm() {
  PATH="$kit/venv/bin:$PATH" RUSTC="$kit/rustc" CARGO_TARGET_DIR="$root/build" \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$kit/run" \
    "$kit/venv/bin/cargo-zigbuild" "$@"
}

# The test binary of agent-core, for random lives: live SIDE COMMAND...
live() {
  OPENCLAW_SIMULATE=$lives "${@:2}" -p openclaw-agent-core --lib -- --ignored --nocapture ten_thousand_lives |
    tee "$root/lives.log" | grep -o 'Figures.*' >"$root/lives.$1" || {
    cat "$root/lives.log"
    echo "arm: FAILED: random lives on $1" >&2
    exit 1
  }
}

# Both sides have said the same: compare WHAT
compare() {
  if [ ! -s "$root/$1.here" ] || ! diff "$root/$1.here" "$root/$1.arm"; then
    echo "arm: FAILED: $1 differ (< here, > ARM)" >&2
    exit 1
  fi
}

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || skip "it is set up on x86-64 Linux only"
mkdir -p "$root"
[ -f "$kit/complete" ] || set_up
for_arm=(--profile fast --target "$target.$glibc")

here build -q -p openclaw-agent-core --example replay_digests
arm build -q "${for_arm[@]}" -p openclaw-agent-core --example replay_digests
: >"$root/digests.here"
: >"$root/digests.arm"
for version in agent/core/tests/corpus/*/; do
  "$root/../debug/examples/replay_digests" "$version" >>"$root/digests.here"
  "$kit/run" "$root/build/$target/fast/examples/replay_digests" "$version" >>"$root/digests.arm"
  "$kit/run" "$root/build/$target/fast/examples/replay_digests" --check "$version" >/dev/null
done
compare digests
echo "arm: $(wc -l <"$root/digests.arm") recordings have the same digests on x86-64 and ARM"

live here here test -q
live arm arm test -q "${for_arm[@]}"
compare lives
echo "arm: lives $lives are the same on x86-64 and ARM: $(cat "$root/lives.arm")"

if [ "${LONG:-}" != no ]; then
  arm test "${for_arm[@]}" -p openclaw-protocol -p openclaw-agent-core --lib --test corpus
fi
