#!/usr/bin/env bash
# check-yaml.sh ENVOY[:ENVOY...]: the shipped bootstraps are accepted by each of these Envoys.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# The variables that the examples name; a filter whose variable is missing is refused.
export AUDIT_TOKEN=any NOTIFICATION_TOKEN=any PARTNER_SECRET=whsec_YW55IHNlY3JldCBvZiB0aGUgcGFydG5lcg== RABBITMQ_BASIC=any

command -v openssl >/dev/null || die "openssl is missing; install it (Debian: apt-get install openssl)"
for script in envoy/examples/*/make-certificates.sh; do
  quietly target/validate.log "$script" || die "$script failed"
done

IFS=: read -ra envoys <<<"$1"
for envoy in "${envoys[@]}"; do
  for file in envoy/envoy.yaml envoy/compose/gateway.yaml envoy/examples/*/envoy.yaml; do
    # It has no %SPAN_ID% yet.
    [[ $file != */tracing/* || $("$envoy" --version) != */1.36.* ]] || continue
    say "$file: $envoy --mode validate"
    quietly target/validate.log "$envoy" --mode validate --reject-unknown-dynamic-fields -c "$file" --log-level warning || die "$envoy rejects $file"
    # A secret out of a file is no part of the bootstrap, and only warned of.
    ! grep -F 'config update rejected' target/validate.log >&2 || die "$envoy rejects a file that $file names"
  done
done
