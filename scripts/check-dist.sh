#!/usr/bin/env bash
# What "make dist" made is the same when it is made from scratch in another folder, with cargo's home elsewhere; it names no place of
# this machine, and its lists have every crate of the filter.
set -euo pipefail
. "$(dirname "$0")/common.sh"

files=(sidecast.wasm sidecast.wasm.sha256 sidecast.wasm.cdx.json sidecast.wasm.licences.json)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
tools=$(realpath "${CARGO_TARGET_DIR:-target}/tools")

(cd dist && sha256sum --check --quiet sidecast.wasm.sha256) || die "dist/sidecast.wasm is not what its SHA-256 says"
for place in "$ROOT" "$cargo_home" "$HOME/.rustup" "$(realpath "${CARGO_TARGET_DIR:-target}")"; do
  for file in "${files[@]}"; do
    ! grep -qaF -- "$place/" "dist/$file" || die "dist/$file names $place"
  done
done

cargo tree --locked --target wasm32-wasip1 -e normal --prefix none --format '{p}' |
  python3 -c '
import json, sys

tree = {tuple(line.split()[:2]) for line in sys.stdin if line.strip()}
tree = {(name, version.lstrip("v")) for name, version in tree}
if len(tree) < 10:
    sys.exit(f"error: cargo tree has {len(tree)} crates only")

bom = json.load(open("dist/sidecast.wasm.cdx.json"))
component = bom["metadata"]["component"]
own = (component["name"], component["version"])
named = {own} | {(crate["name"], crate["version"]) for crate in bom["components"]}
if not tree <= named:
    sys.exit(f"error: the list of components lacks {sorted(tree - named)}")
# A crate of a feature that only tests switch on may be named, too; none that the filter is never built with.
foreign = {name for name, _ in named} & {"clap", "hyper", "tokio", "wasmtime"}
if foreign:
    sys.exit(f"error: the list of components has what is no part of the filter: {sorted(foreign)}")

def bare(licences, expression):
    """Whether a text is missing: all of them where one of them is enough, else any."""
    missing = [licence["text"].strip() in ("", "NOT FOUND") for licence in licences]
    return any(missing) if "AND" in expression else all(missing)

licences = json.load(open("dist/sidecast.wasm.licences.json"))["third_party_libraries"]
clad = {(crate["package_name"], crate["package_version"]) for crate in licences if not bare(crate["licenses"], crate["license"])}
if not tree - {own} <= clad:
    sys.exit(f"error: no licence text for {sorted(tree - {own} - clad)}")
print(f"== {len(tree)} crates, each listed, each with the text of its licence", file=sys.stderr)
' || die "the lists in dist/ are not those of the filter"

# Another path, of another length, with cargo's home as another path to the same crates. What git does not know is no part of it.
other=$(mktemp -d)/elsewhere/of-another-length
trap 'rm -rf "${other%/elsewhere/*}"' EXIT
mkdir -p "$other/clone/target" "$other/home"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory "$other/clone"
ln -s "$tools" "$other/clone/target/tools"
for entry in "$cargo_home"/*; do
  ln -s "$entry" "$other/home/"
done
say "building again from scratch, in $other"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} CARGO_HOME=$other/home \
  env -u CARGO_TARGET_DIR "$other/clone/scripts/dist.sh"
for file in "${files[@]}"; do
  cmp "dist/$file" "$other/clone/dist/$file" || die "dist/$file is another when it is built elsewhere"
done
say "the same bytes here and there: ${files[*]}"
