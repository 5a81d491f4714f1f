#!/usr/bin/env bash
# check-envoy.sh PATH: one clear line when that is no Envoy that runs here.
set -euo pipefail
. "$(dirname "$0")/common.sh"

[[ $("$1" --version 2>/dev/null) == *" version: "* ]] || die "ENVOY=$1 is not an Envoy binary that runs on this machine"
