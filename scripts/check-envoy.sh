#!/usr/bin/env bash
# check-envoy.sh PATH: one clear line when that is no Envoy that runs here, or one without the V8 runtime for Wasm.
set -euo pipefail
. "$(dirname "$0")/common.sh"

envoy=$1
[[ $("$envoy" --version 2>/dev/null) == *" version: "* ]] || die "$envoy is not an Envoy binary that runs on this machine"

# Whether a runtime is compiled in shows only when a module is loaded; an empty one will do, since another error is as good a response.
probe='
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: wasm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm
          config:
            vm_config: {runtime: envoy.wasm.runtime.v8, code: {local: {inline_bytes: AGFzbQEAAAA=}}}
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: probe
          cluster: probe'
answer=$("$envoy" --mode validate --config-yaml "$probe" 2>&1) || true
[[ $answer != *"compiled without support"* ]] || die "$envoy was compiled without the V8 runtime for Wasm"
