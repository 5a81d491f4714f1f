#!/usr/bin/env bash
# The images of envoy/docker-compose.yaml, each out of nothing but one program and the libraries that it needs, so that no
# registry is asked: sidecast/upstream, sidecast/envoy and, where Debian's package is installed, sidecast/prometheus.
set -euo pipefail
. "$(dirname "$0")/common.sh"

work=target/compose

docker info >/dev/null 2>&1 || die "no container engine answers (docker info)"

# image NAME PROGRAM: the loader and the libraries keep their paths, since the binary knows the loader's by heart.
image() {
  local name=$1 program=$2 root=$work/$1/root library
  rm -rf "$root"
  mkdir -p "$root/usr/local/bin"
  cp -L "$program" "$root/usr/local/bin/$name"
  chmod 755 "$root/usr/local/bin/$name"
  { ldd "$program" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; } | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
  cp envoy/compose/Dockerfile "$work/$name/Dockerfile"
  quietly "$work/$name/build.log" docker build --tag "sidecast/$name:local" "$work/$name" || die "the image sidecast/$name could not be built"
  say "sidecast/$name:local ($(du -sm "$root" | cut -f1) MiB)"
}

# Static, so it also runs in an image that has a C library of its own, as the health check of the gateway. The target is named
# lest the flags hold for build scripts and macros, too.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C target-feature=+crt-static -C strip=symbols" \
  cargo build --locked --manifest-path tests/compose/Cargo.toml --bin upstream --target "$host" --target-dir "${CARGO_TARGET_DIR:-target}"

image upstream "${CARGO_TARGET_DIR:-target}/$host/debug/upstream"
image envoy "$ENVOY"
if prometheus=$(command -v prometheus); then
  image prometheus "$prometheus"
else
  say "no Prometheus image: Prometheus is not installed (Debian: apt-get install prometheus)"
fi
