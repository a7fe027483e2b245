#!/usr/bin/env bash
# Installs what the tests need from the system: a C compiler, PostgreSQL's server programs, and pip and
# npm, which fetch the compilers of plugins in other languages.
# Does nothing where they are there; says what to install, and what will not be shown, where it cannot.
set -euo pipefail

# Some tests need a small file system of their own; they say SKIPPED where there is none, but quietly.
small=$(mktemp -d)
if mount -t tmpfs -o size=1m tmpfs "$small" 2>/dev/null; then
  umount "$small"
else
  echo "setup: no file system can be mounted here, so nothing is shown of a full disk; root may" >&2
fi
rmdir "$small"

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
command -v npm >/dev/null || missing+=(npm)
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

echo "setup: installing ${missing[*]}"
if ! command -v apt-get >/dev/null; then
  echo "setup: this is no Debian; install these yourself: ${missing[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: not root and no sudo; run: apt-get install ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
