#!/usr/bin/env bash
# build.sh [filter]: the filter and, unless it alone is wanted, the command-line tool, into dist/.
set -euo pipefail
. "$(dirname "$0")/common.sh"

target_dir=${CARGO_TARGET_DIR:-target}

# A file that did not change keeps its time, and one that Envoy has open is replaced, not written over.
publish() {
  cmp -s "$1" "$2" || { cp "$1" "$2.new" && mv "$2.new" "$2"; }
}

mkdir -p dist
scripts/wasm-cargo.sh build --release --lib --locked
publish "$target_dir/wasm32-wasip1/release/sidecast.wasm" dist/sidecast.wasm
say "dist/sidecast.wasm ($(($(wc -c <dist/sidecast.wasm) / 1024)) KiB)"
[ "${1:-}" != filter ] || exit 0
cargo build --profile tool --locked --features cli --bin sidecast --target-dir "$target_dir"
publish "$target_dir/tool/sidecast" dist/sidecast
say "dist/sidecast"
