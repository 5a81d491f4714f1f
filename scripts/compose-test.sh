#!/usr/bin/env bash
# Brings envoy/docker-compose.yaml up as a project of its own, on free ports, with the images of
# scripts/compose-images.sh, lets tests/compose have its way with it, and takes it down whatever happens.
set -euo pipefail
. "$(dirname "$0")/common.sh"

skip() {
  printf 'compose-test skipped: %s\n' "$*" >&2
  exit 0
}
docker info >/dev/null 2>&1 || skip "no container engine answers (docker info)"
if docker compose version >/dev/null 2>&1; then
  compose="docker compose"
elif command -v docker-compose >/dev/null; then
  compose="docker-compose"
else
  skip "neither docker compose nor docker-compose is installed"
fi

scripts/compose-images.sh
# Compiled before anything is up. A package of its own, but with the clone's one target directory.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
test=(cargo test --locked --manifest-path tests/compose/Cargo.toml --test compose)
"${test[@]}" --no-run

export COMPOSE_FILE=$PWD/envoy/docker-compose.yaml COMPOSE_PROJECT_NAME=sidecast-test-$$ SIDECAST_COMPOSE=$compose
export ENVOY_IMAGE=sidecast/envoy:local UPSTREAM_IMAGE=sidecast/upstream:local PROMETHEUS_IMAGE=sidecast/prometheus:local
# Empty: any that is free.
export GATEWAY_PORT='' PROMETHEUS_PORT='' GRAFANA_PORT='' RABBITMQ_PORT=''

# The test runs in the background, because bash heeds a signal only when no command is in its foreground.
test_process=
take_down() {
  trap '' INT TERM
  [ -z "$test_process" ] || kill -- "-$test_process" 2>/dev/null || true
  quietly target/compose/down.log $compose --profile monitoring down --volumes --remove-orphans --timeout 5 ||
    say "$compose down failed; see what is left with docker ps -a --filter name=$COMPOSE_PROJECT_NAME"
}
trap take_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A group of its own: cargo does not pass signals on.
set -m
"${test[@]}" -- --nocapture &
test_process=$!
set +m
if wait "$test_process"; then
  test_process=
else
  test_process=
  $compose ps >&2 || true
  $compose logs --no-color --tail 20 >&2 || true
  die "compose-test failed"
fi
