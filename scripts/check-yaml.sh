#!/usr/bin/env bash
# check-yaml.sh ENVOY[:ENVOY...]: the shipped bootstraps are accepted by each of these Envoys.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# The variables that the examples name; a filter whose variable is missing is refused.
export NOTIFICATION_TOKEN=any

IFS=: read -ra envoys <<<"$1"
for envoy in "${envoys[@]}"; do
  for file in envoy/envoy.yaml envoy/examples/*/envoy.yaml; do
    # It has no %SPAN_ID% yet.
    [[ $file != */tracing/* || $("$envoy" --version) != */1.36.* ]] || continue
    say "$file: $envoy --mode validate"
    quietly target/validate.log "$envoy" --mode validate -c "$file" --log-level warning || die "$envoy refuses $file"
  done
done
