#!/usr/bin/env bash
# check-manifests.sh ENVOY: the manifests for Istio, Envoy Gateway and Kubernetes, the chart and the image hold against published schemas, kubectl,
# helm and that Envoy.
set -euo pipefail
. "$(dirname "$0")/common.sh"

export ENVOY=$1
scripts/setup-manifests.sh

say "manifests and image"
target/manifests/venv/bin/python -B -W ignore -m unittest discover -s tests/manifests -t tests/manifests
