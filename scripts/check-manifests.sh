#!/usr/bin/env bash
# check-manifests.sh ENVOY: the manifests for Istio, Envoy Gateway and Kubernetes, and the image, hold against published schemas and that Envoy.
set -euo pipefail
. "$(dirname "$0")/common.sh"

export ENVOY=$1
packages=(kubernetes-validate==1.37.0 cloudcoil-models-istio==1.24.2.1)
home=target/manifests

# Written last, so a setup that was interrupted is done again, and one of other versions, too.
if [ "$(cat "$home/packages" 2>/dev/null)" != "${packages[*]}" ]; then
  say "setting up ${packages[*]} in $home"
  rm -rf "$home"
  python3 -m venv "$home/venv" || die "python3 -m venv failed; install Python's venv module (Debian: apt-get install python3-venv)"
  quietly "$home/pip.log" "$home/venv/bin/python" -m pip install --no-input "${packages[@]}" || die "pip could not install ${packages[*]}"
  printf '%s' "${packages[*]}" >"$home/packages"
fi

say "manifests and image"
"$home/venv/bin/python" -B -W ignore -m unittest discover -s tests/manifests -t tests/manifests
