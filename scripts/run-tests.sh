#!/usr/bin/env bash
# Every test that cargo runs. The storms wait more than they compute, so they run beside the others.
set -euo pipefail
. "$(dirname "$0")/common.sh"

tests=(cargo test --locked --features cli)
# Compiled first: two compilers at once would wait for one another.
"${tests[@]}" --no-run
"${tests[@]}" --test storms --no-run

log=${CARGO_TARGET_DIR:-target}/storms.log
# A group of its own: cargo does not pass signals on.
set -m
"${tests[@]}" --test storms >"$log" 2>&1 &
storms=$!
set +m
trap 'kill -- "-$storms" 2>/dev/null || true' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

status=0
"${tests[@]}" || status=$?
say "storms, which ran in parallel"
wait "$storms" || status=$?
cat "$log"
exit "$status"
