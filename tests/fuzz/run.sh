#!/usr/bin/env bash
# Fuzzes the targets (all, or those named) for SECONDS_EACH each, from the corpus on. What fails is
# kept in artifacts/TARGET; what reaches something new, in target/found/TARGET. With `merge` first,
# makes the smallest corpus of both that reaches as much. The corpus is corpus/TARGET.b64: an input a
# line, in base64.
set -euo pipefail
cd "$(dirname "$0")"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
merge=
if [ "${1:-}" = merge ]; then
  merge=yes
  shift
fi
if [ $# -eq 0 ]; then
  set -- definition expression step
fi

# Inputs of a target, a file each: unpack TARGET DIR
unpack() {
  local number=0 line
  rm -rf "$2"
  mkdir -p "$2"
  [ -e "corpus/$1.b64" ] || return 0
  while IFS= read -r line; do
    base64 -d <<<"$line" >"$2/$number"
    number=$((number + 1))
  done <"corpus/$1.b64"
}

# And back: pack DIR TARGET
pack() {
  local input
  mkdir -p corpus
  for input in "$1"/*; do
    base64 -w0 <"$input"
    echo
  done | LC_ALL=C sort >"corpus/$2.b64"
}

cargo build --release --bins
built="${CARGO_TARGET_DIR:-target}/$(rustc --print host-tuple)/release"
for target in "$@"; do
  case $target in
    definition) longest=16384 ;;
    expression) longest=2048 ;;
    step) longest=512 ;;
    *) echo "there is no target $target" >&2; exit 2 ;;
  esac
  found="target/found/$target"
  known="target/corpus/$target"
  mkdir -p "$found" "artifacts/$target"
  unpack "$target" "$known"
  if [ -n "$merge" ]; then
    smallest=$(mktemp -d)
    "$built/$target" -set_cover_merge=1 -use_counters=0 "$smallest" "$known" "$found"
    pack "$smallest" "$target"
    rm -rf "$smallest"
    continue
  fi
  words=()
  if [ -e "words/$target.dict" ]; then
    words=("-dict=words/$target.dict")
  fi
  echo "== $target, ${SECONDS_EACH:-60} s"
  "$built/$target" -max_total_time="${SECONDS_EACH:-60}" -timeout=20 -rss_limit_mb=1024 \
    -max_len="$longest" -print_final_stats=1 -artifact_prefix="artifacts/$target/" \
    ${words[@]+"${words[@]}"} "$found" "$known"
done
