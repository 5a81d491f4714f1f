#!/bin/sh
# Prints envoy/prometheus/*.rules.yml as a PrometheusRule, for the Prometheus Operator: sh prometheus-rule.sh [NAMESPACE] | kubectl apply -f -
set -eu
rules=$(dirname "$0")/../prometheus

cat <<END
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sidecast
  namespace: ${1:-shop}
  labels:
    app.kubernetes.io/name: sidecast
    app.kubernetes.io/instance: sidecast
    app.kubernetes.io/version: 0.1.0
    app.kubernetes.io/component: monitoring
    app.kubernetes.io/part-of: shop
    app.kubernetes.io/managed-by: kubectl
spec:
  groups:
END
for file in "$rules"/*.rules.yml; do
  sed -e '1,/^groups:$/d' -e 's/^/  /' "$file"
done
