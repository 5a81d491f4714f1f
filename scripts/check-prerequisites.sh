#!/usr/bin/env bash
# What cannot be fetched into the clone: each thing missing is one line that says what to install.
set -euo pipefail
. "$(dirname "$0")/common.sh"

missing=0
lacks() {
  printf 'error: %s\n' "$*" >&2
  missing=1
}

command -v git >/dev/null || lacks "git is missing; install it (Debian: apt-get install git)"
command -v cc >/dev/null || lacks "a C compiler is missing; install one (Debian: apt-get install gcc libc6-dev)"
if ! command -v cargo >/dev/null; then
  lacks "cargo is missing; install Rust with rustup (https://rustup.rs)"
elif ! cargo --version >/dev/null 2>&1; then
  lacks "cargo is installed but does not run; choose a toolchain (rustup default stable)"
fi
if ! command -v python3 >/dev/null; then
  lacks "python3 is missing; install it (Debian: apt-get install python3 python3-venv)"
elif ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
  lacks "Python's venv module is missing; install it (Debian: apt-get install python3-venv)"
fi
exit "$missing"
