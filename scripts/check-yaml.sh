#!/usr/bin/env bash
# check-yaml.sh ENVOY[:ENVOY...]: the shipped bootstrap is accepted by each of these Envoys.
set -euo pipefail
. "$(dirname "$0")/common.sh"

IFS=: read -ra envoys <<<"$1"
for envoy in "${envoys[@]}"; do
  say "envoy/envoy.yaml: $envoy --mode validate"
  quietly target/validate.log "$envoy" --mode validate -c envoy/envoy.yaml --log-level warning ||
    die "$envoy refuses envoy/envoy.yaml"
done
