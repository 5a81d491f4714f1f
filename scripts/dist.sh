#!/usr/bin/env bash
# A release, into dist/: sidecast-VERSION.tar.gz with the filter, the command-line tool, the image, what both are made of (CycloneDX), the licences
# of that with their texts, and SHA256SUMS. The same sources give the same bytes, wherever they lie.
set -euo pipefail
. "$(dirname "$0")/common.sh"

target_dir=${CARGO_TARGET_DIR:-target}
tools=$target_dir/tools
# The date of what is released, not of its build.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
case $(uname -m) in
  x86_64) platform=linux-amd64 ;;
  aarch64) platform=linux-arm64 ;;
  *) die "the tool is not released for $(uname -m)" ;;
esac

scripts/setup-tool.sh cargo-cyclonedx 0.5.9
scripts/setup-tool.sh cargo-bundle-licenses 5.0.0

# components NAME ARGUMENTS...: what NAME is made of, as dist/NAME.cdx.json. The tool writes beside Cargo.toml, and names the directory.
components() {
  local name=$1
  shift
  quietly "$tools/cyclonedx.log" "$tools/bin/cargo-cyclonedx" cyclonedx --no-build-deps --format json --spec-version 1.5 \
    --override-filename "$name.cdx" "$@" || die "cannot list the components of $name"
  sed "s|path+file://$ROOT|path+file:///sidecast|g" "$name.cdx.json" >"dist/$name.cdx.json"
  rm "$name.cdx.json"
}

# licences NAME ARGUMENTS...: the licence of each crate with its text, as dist/NAME.licences.json.
licences() {
  quietly "$tools/bundle-licenses.log" "$tools/bin/cargo-bundle-licenses" bundle-licenses --format json \
    --output "dist/$1.licences.json" "${@:2}" || die "cannot list the licences"
  python3 -B scripts/licence-texts.py "dist/$1.licences.json"
}

# The tool, for this platform. Its strings name source files of crates; they get the same names on every machine.
tool() {
  local home=${CARGO_HOME:-$HOME/.cargo} flags
  flags="--remap-path-prefix=$home/registry/src=/registry"$'\x1f'"--remap-path-prefix=$ROOT=/sidecast"
  flags+=$'\x1f'"--remap-path-prefix=$(realpath -m "$target_dir")=/sidecast/target"
  CARGO_ENCODED_RUSTFLAGS=$flags CFLAGS="-ffile-prefix-map=$home/registry/src=/registry -ffile-prefix-map=$ROOT=/sidecast" \
    cargo build --release --locked --features cli --bin sidecast --target-dir "$target_dir/dist"
  cp "$target_dir/dist/release/sidecast" "dist/sidecast-$platform"
}

# Into target/release-VERSION: what the archive holds.
stage() {
  local stage=$1 cli=dist/sidecast-$platform shell command
  rm -rf "$stage"
  mkdir -p "$stage"/{bin,completions,man,sbom,licences}
  cp dist/sidecast.wasm dist/image.tar LICENSE CHANGELOG.md "$stage/"
  cp "$cli" "$stage/bin/sidecast"
  "$cli" schema >"$stage/sidecast.schema.json"
  for shell in bash elvish fish powershell zsh; do
    "$cli" completions "$shell" >"$stage/completions/sidecast.$shell"
  done
  "$cli" man >"$stage/man/sidecast.1"
  # The commands that have a page of their own are those that its page names.
  for command in $("$cli" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -v '^help$'); do
    "$cli" man "$command" >"$stage/man/sidecast-$command.1"
  done
  cp dist/sidecast.wasm.cdx.json dist/sidecast.cdx.json "$stage/sbom/"
  cp dist/sidecast.wasm.licences.json dist/sidecast.licences.json "$stage/licences/"
  scripts/package-chart.sh "$cli"
  cp "dist/sidecast-$version.tgz" "$stage/"
}

scripts/build.sh filter
(cd dist && sha256sum sidecast.wasm >sidecast.wasm.sha256)
components sidecast.wasm --target wasm32-wasip1
# Whatever a native build would link is in it as well; that is a little more than the filter has.
licences sidecast.wasm

tool
components sidecast --features cli --target "$(rustc -vV | sed -n 's/^host: //p')"
licences sidecast --features cli
quietly "$target_dir/image.log" python3 -B scripts/make-image.py dist/sidecast.wasm dist/image "sidecast:$version" || die "cannot build the image"

name=sidecast-$version
stage "$target_dir/$name"
python3 -B scripts/make-archive.py "$name" "$target_dir/$name" "dist/$name.tar.gz"
(cd dist && sha256sum "$name.tar.gz" >SHA256SUMS)
say "dist/$name.tar.gz $(cut -d ' ' -f 1 dist/SHA256SUMS); sidecast.wasm $(cut -d ' ' -f 1 dist/sidecast.wasm.sha256)"
