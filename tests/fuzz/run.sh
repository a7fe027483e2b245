#!/usr/bin/env bash
# Fuzzes the targets (all, or those named) for SECONDS_EACH each, from the corpus on. What fails is
# kept in artifacts/TARGET; what reaches something new, in target/found/TARGET. With `merge` first,
# makes the smallest corpus of both that reaches as much.
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
  mkdir -p "$found" "artifacts/$target" "corpus/$target"
  if [ -n "$merge" ]; then
    smallest=$(mktemp -d)
    "$built/$target" -set_cover_merge=1 -use_counters=0 "$smallest" "corpus/$target" "$found"
    rm -rf "corpus/$target"
    mv "$smallest" "corpus/$target"
    chmod 755 "corpus/$target"
    continue
  fi
  words=()
  if [ -e "words/$target.dict" ]; then
    words=("-dict=words/$target.dict")
  fi
  echo "== $target, ${SECONDS_EACH:-60} s"
  "$built/$target" -max_total_time="${SECONDS_EACH:-60}" -timeout=20 -rss_limit_mb=1024 \
    -max_len="$longest" -print_final_stats=1 -artifact_prefix="artifacts/$target/" \
    ${words[@]+"${words[@]}"} "$found" "corpus/$target"
done
