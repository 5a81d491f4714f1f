#!/usr/bin/env bash
# package-chart.sh [TOOL]: dist/sidecast-VERSION.tgz, the Helm chart of this version, with the schema that TOOL (dist/sidecast) prints.
set -euo pipefail
. "$(dirname "$0")/common.sh"

scripts/setup-manifests.sh
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[ -n "$version" ] || die "Cargo.toml has no version"
staged=target/chart/sidecast
python3 -B scripts/stage-chart.py "${1:-dist/sidecast}" "$staged"
mkdir -p dist
quietly target/chart/helm.log target/manifests/bin/helm package "$staged" --version "$version" --app-version "$version" --destination dist || die "helm cannot package the chart"
say "dist/sidecast-$version.tgz"
