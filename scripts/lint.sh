#!/usr/bin/env bash
# Formatting, clippy, documentation, the rooms of the source, and the syntax of the scripts: all errors.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# "rustup component add" is the way to get what is named here.
component() {
  cargo "$1" --version >/dev/null 2>&1 || die "cargo $1 is missing; install it (rustup component add $2)"
}
component fmt rustfmt
component clippy clippy

# Packages of their own.
plain_filter=tests/plain-filter/Cargo.toml
compose=tests/compose/Cargo.toml

say "formatting"
cargo fmt --check
cargo fmt --check --manifest-path "$plain_filter"
cargo fmt --check --manifest-path "$compose"

say "clippy, native"
cargo clippy --locked --all-targets --features cli -- -D warnings
# They are no targets of "cargo test", and so none of these.
cargo clippy --locked --test fuzz --test storms -- -D warnings
cargo clippy --locked --all-targets --manifest-path "$compose" --target-dir "${CARGO_TARGET_DIR:-target}" -- -D warnings

say "clippy, wasm32-wasip1"
scripts/wasm-cargo.sh clippy --locked --lib -- -D warnings
scripts/wasm-cargo.sh clippy --locked --manifest-path "$plain_filter" -- -D warnings

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --features cli --lib

# "advisories" is left out: it asks a database over the network, and changes its mind while nothing changes here.
say "dependencies: licences, sources and wildcards"
scripts/setup-tool.sh cargo-deny 0.20.2
cargo_deny=("${CARGO_TARGET_DIR:-target}/tools/bin/cargo-deny" --locked --all-features)
"${cargo_deny[@]}" check licenses bans sources
# Few crates have few licences.
for package in "$plain_filter" "$compose"; do
  "${cargo_deny[@]}" --manifest-path "$package" --config deny.toml check --allow license-not-encountered licenses bans sources
done

say "rooms: imports go one way, unsafe code is in one room"
python3 -B scripts/check-rooms.py
python3 -B scripts/check-rooms.py --mermaid >/dev/null

say "pictures are what their sources say"
python3 -B scripts/draw-pictures.py --d2 target/pictures-venv/bin/d2 --check
python3 -B scripts/record-run.py check
python3 -B scripts/draw-dashboard.py --check

say "scripts"
for script in scripts/*.sh envoy/kubernetes/*.sh envoy/examples/*/*.sh .ci/run; do
  bash -n "$script"
done
for script in demo/*.py scripts/*.py benches/peers/*.py tests/manifests/*.py tests/instructions/*.py envoy/istio/*.py envoy/examples/*/*.py; do
  python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$script"
done
