#!/usr/bin/env bash
# What "make dist" made is the same when it is made from scratch in another folder, with cargo's home elsewhere; it names no place of
# this machine, and its lists have every crate.
set -euo pipefail
. "$(dirname "$0")/common.sh"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
platform=$(basename dist/sidecast-linux-*)
archive=sidecast-$version.tar.gz
files=(sidecast.wasm sidecast.wasm.sha256 sidecast.wasm.cdx.json sidecast.wasm.licences.json
  "$platform" sidecast.cdx.json sidecast.licences.json image.tar "$archive" SHA256SUMS)
cargo_home=${CARGO_HOME:-$HOME/.cargo}
tools=$(realpath "${CARGO_TARGET_DIR:-target}/tools")

(cd dist && sha256sum --check --quiet sidecast.wasm.sha256 SHA256SUMS) || die "a file in dist/ does not match its SHA-256"
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
tar -xzf "dist/$archive" -C "$unpacked"
(cd "$unpacked/sidecast-$version" && sha256sum --check --quiet SHA256SUMS) || die "a file of the archive does not match SHA256SUMS"
[ "$(find "$unpacked" -type f | wc -l)" -gt 20 ] || die "files are missing from the archive"
[ "$("$unpacked/sidecast-$version/bin/sidecast" --version)" = "sidecast $version" ] || die "the tool in the archive has another version"
tar -tvzf "dist/$archive" | awk '$2 != "0/0" { exit 1 }' || die "the archive names a user: expected uid and gid 0"
tar -tzf "dist/$archive" | LC_ALL=C sort --check || die "the archive is not sorted"
for place in "$ROOT" "$cargo_home" "$HOME/.rustup" "$(realpath "${CARGO_TARGET_DIR:-target}")"; do
  ! named=$(grep -rlaF -- "$place/" "$unpacked") || die "the archive names $place: $named"
done

# lists NAME FOREIGN ARGUMENTS...: dist/NAME.cdx.json and dist/NAME.licences.json have every crate that cargo tree has, and none of FOREIGN.
lists() {
  local name=$1 foreign=$2
  shift 2
  cargo tree --locked -e normal --prefix none --format '{p}' "$@" | python3 -c "$compare" "$name" "$foreign" ||
    die "the component lists of $name do not match its dependencies"
}
compare='import json, sys

name, foreign = sys.argv[1], set(sys.argv[2].split())

tree = {tuple(line.split()[:2]) for line in sys.stdin if line.strip()}
tree = {(crate, version.lstrip("v")) for crate, version in tree}
if len(tree) < 10:
    sys.exit(f"error: cargo tree has only {len(tree)} crates")

bom = json.load(open(f"dist/{name}.cdx.json"))
component = bom["metadata"]["component"]
own = (component["name"], component["version"])
listed = {own} | {(crate["name"], crate["version"]) for crate in bom["components"]}
if not tree <= listed:
    sys.exit(f"error: the list of components lacks {sorted(tree - listed)}")
# A crate of a feature that only tests switch on may be named, too; none that it is never built with.
foreign = {crate for crate, _ in listed} & foreign
if foreign:
    sys.exit(f"error: the list of components has unrelated entries: {sorted(foreign)}")

def bare(licences, expression):
    """Whether a text is missing: all of them where one of them is enough, else any."""
    missing = [licence["text"].strip() in ("", "NOT FOUND") for licence in licences]
    return any(missing) if "AND" in expression else all(missing)

licences = json.load(open(f"dist/{name}.licences.json"))["third_party_libraries"]
clad = {(crate["package_name"], crate["package_version"]) for crate in licences if not bare(crate["licenses"], crate["license"])}
if not tree - {own} <= clad:
    sys.exit(f"error: no licence text for {sorted(tree - {own} - clad)}")
print(f"== {name}: {len(tree)} crates, each listed, each with the text of its licence", file=sys.stderr)
'
lists sidecast.wasm 'clap hyper tokio wasmtime' --target wasm32-wasip1
lists sidecast 'wasmtime proptest criterion' --features cli

# Another path, of another length, with cargo's home as another path to the same crates. What git does not know is no part of it.
other=$(mktemp -d)/elsewhere/of-another-length
trap 'rm -rf "$unpacked" "${other%/elsewhere/*}"' EXIT
mkdir -p "$other/clone/target" "$other/home"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory "$other/clone"
ln -s "$tools" "$other/clone/target/tools"
# Helm, which packs the chart.
ln -s "$ROOT/target/manifests" "$other/clone/target/manifests"
for entry in "$cargo_home"/*; do
  ln -s "$entry" "$other/home/"
done
say "building again from scratch, in $other"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)} CARGO_HOME=$other/home \
  env -u CARGO_TARGET_DIR "$other/clone/scripts/dist.sh"
for file in "${files[@]}"; do
  cmp "dist/$file" "$other/clone/dist/$file" || die "dist/$file differs when built elsewhere"
done
say "identical in both builds: ${files[*]}"
