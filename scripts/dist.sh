#!/usr/bin/env bash
# A release, into dist/: the filter, its SHA-256, what it is made of (CycloneDX), and the licences of that with their texts.
# The same sources give the same bytes, wherever they lie.
set -euo pipefail
. "$(dirname "$0")/common.sh"

tools=${CARGO_TARGET_DIR:-target}/tools
# The date of what is released, not of its build.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

scripts/setup-tool.sh cargo-cyclonedx 0.5.9
scripts/setup-tool.sh cargo-bundle-licenses 5.0.0

scripts/build.sh filter
(cd dist && sha256sum sidecast.wasm >sidecast.wasm.sha256)

# It writes beside Cargo.toml, and names the directory.
quietly "$tools/cyclonedx.log" "$tools/bin/cargo-cyclonedx" cyclonedx --target wasm32-wasip1 --no-build-deps \
  --format json --spec-version 1.5 --override-filename sidecast.wasm.cdx || die "no list of components"
sed "s|path+file://$ROOT|path+file:///sidecast|g" sidecast.wasm.cdx.json >dist/sidecast.wasm.cdx.json
rm sidecast.wasm.cdx.json

# Whatever a native build would link is in it as well; that is a little more than the filter has.
quietly "$tools/bundle-licenses.log" "$tools/bin/cargo-bundle-licenses" bundle-licenses --format json \
  --output dist/sidecast.wasm.licences.json || die "no list of licences"
# Some crates come without a text. That of the Apache License is the same for all: ours.
python3 - dist/sidecast.wasm.licences.json LICENSE <<'PYTHON'
import json
import sys

path, apache = sys.argv[1], open(sys.argv[2], encoding="utf-8").read()
with open(path, encoding="utf-8") as file:
    licences = json.load(file)
for crate in licences["third_party_libraries"]:
    for licence in crate["licenses"]:
        if licence["license"] == "Apache-2.0" and licence["text"] == "NOT FOUND":
            licence["text"] = apache
with open(path, "w", encoding="utf-8") as file:
    json.dump(licences, file, indent=1, ensure_ascii=False)
PYTHON
say "dist/: sidecast.wasm $(cut -d ' ' -f 1 dist/sidecast.wasm.sha256), .cdx.json, .licences.json"
