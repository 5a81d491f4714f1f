#!/usr/bin/env bash
# setup-tool.sh CRATE VERSION [OPTION...]: a program of that version, as target/tools/bin/CRATE. Unoptimised: compiling them is what takes time.
# The options are those of "cargo install", such as --no-default-features.
set -euo pipefail
. "$(dirname "$0")/common.sh"

crate=${1:?usage: setup-tool.sh CRATE VERSION [OPTION...]}
version=${2:?usage: setup-tool.sh CRATE VERSION [OPTION...]}
shift 2
tools=${CARGO_TARGET_DIR:-target}/tools

# Cargo's own record of what it installed there.
! grep -qF "\"$crate $version (" "$tools/.crates.toml" 2>/dev/null || exit 0
say "setting up $crate $version in $tools (takes minutes, once)"
# The tools share dependencies, and so their compilation.
CARGO_TARGET_DIR=$tools/build quietly "$tools/$crate.log" cargo install --locked --debug --root "$tools" "$crate@$version" "$@" ||
  die "cargo could not install $crate@$version"
