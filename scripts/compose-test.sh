#!/usr/bin/env bash
# The filter in containers: builds an image out of the files we have, sends an order through the gateway, and looks into the
# targets' logs for the copies. Without a container engine that runs, it is skipped.
set -euo pipefail
. "$(dirname "$0")/common.sh"

docker info >/dev/null 2>&1 || {
  say "skipped: no container engine answers (docker info)"
  exit 0
}
if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v docker-compose >/dev/null; then
  compose=(docker-compose)
else
  say "skipped: neither docker compose nor docker-compose is installed"
  exit 0
fi
compose+=(-f envoy/docker-compose.yaml -p sidecast-compose-test)

work=target/compose

say "building the image"
rm -rf "$work"
mkdir -p "$work/root/usr/local/bin" "$work/root/etc/envoy" "$work/root/dist"
cp -L "$ENVOY" "$work/root/usr/local/bin/envoy"
# The loader and the libraries keep their paths: the binary knows the loader's by heart.
ldd "$ENVOY" | grep -oE '/[^ ]+' | while read -r library; do
  mkdir -p "$work/root$(dirname "$library")"
  cp -L "$library" "$work/root$library"
done
cp "$SIDECAST_WASM" "$work/root/dist/sidecast.wasm"
cp envoy/compose/upstream.yaml "$work/root/etc/envoy/upstream.yaml"
cp envoy/compose/Dockerfile "$work/Dockerfile"
# The shipped bootstrap, with the services of the composition in the place of loopback.
sed -E -e 's/type: STATIC/type: STRICT_DNS/' \
  -e 's/address: 127\.0\.0\.1, port_value: 10000/address: 0.0.0.0, port_value: 10000/' \
  -e 's/address: 127\.0\.0\.1, port_value: 8081/address: primary, port_value: 8080/' \
  -e 's/address: 127\.0\.0\.1, port_value: 8082/address: audit, port_value: 8080/' \
  -e 's/address: 127\.0\.0\.1, port_value: 8083/address: analytics, port_value: 8080/' \
  envoy/envoy.yaml >"$work/root/etc/envoy/gateway.yaml"
quietly "$work/build.log" docker build -t sidecast-compose-test "$work" || die "the image could not be built"

take_down() {
  quietly "$work/down.log" "${compose[@]}" down --volumes --timeout 5 || true
  quietly "$work/down.log" docker image rm sidecast-compose-test || true
}
trap take_down EXIT

failed() {
  "${compose[@]}" logs --no-color --tail 20 >&2 || true
  die "$*"
}

say "starting gateway, primary, audit and analytics"
quietly "$work/up.log" "${compose[@]}" up -d || die "${compose[*]} up failed"
address=$("${compose[@]}" port gateway 10000) || failed "the gateway has no port"

deadline=$((SECONDS + 60))

# The first answer of the primary says that all is up; the path tells this order from those before it.
path=/orders/$$-$RANDOM
until status=$(python3 - "$address" "$path" <<'PYTHON'
import http.client
import sys

client = http.client.HTTPConnection(sys.argv[1], timeout=5)
try:
    client.request("POST", sys.argv[2], '{"item": "book"}', {"content-type": "application/json", "authorization": "Bearer of-the-user"})
    answer = client.getresponse()
    print(answer.status, answer.read().decode().strip())
except (OSError, http.client.HTTPException):
    sys.exit(1)
PYTHON
) && [ "$status" = "200 taken" ]; do
  [ "$SECONDS" -lt "$deadline" ] || failed "no answer of the primary through the gateway (last: ${status:-none})"
  sleep 0.2
done

received() {
  until "${compose[@]}" logs --no-color "$1" 2>&1 | grep -F "received POST $path " | grep -F "$2" >/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || failed "$1 did not receive: $2"
    sleep 0.2
  done
  say "$1 received POST $path $2"
}
received primary "bytes=16 target=- authorization=Bearer of-the-user"
received audit "bytes=16 target=audit authorization=-"
received analytics "bytes=16 target=analytics authorization=-"
say "compose-test passed"
