"""Bootstraps and requests for what is measured by callgrind.py: the same as those of benches/side_by_side."""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Headers such as a service inside a mesh sees.
HEADERS = {
    "host": "shop.example",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br",
    "authorization": "Bearer 0123456789abcdef0123456789abcdef",
    "content-type": "application/json",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "user-agent": "orders/1.4.2",
    "x-user-id": "c0ffee",
}


def request(body=b"", headers=HEADERS):
    """A POST with a body, or else a GET."""
    lines = ["POST /orders?source=web HTTP/1.1" if body else "GET /orders?source=web HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def filled(length):
    """A JSON body of that many bytes that says little."""
    head, tail = b'{"order":4711,"note":"', b'"}'
    return head + b"x" * (length - len(head) - len(tail)) + tail if length else b""


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def typed(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.filters.{kind}", **fields}}


def wasm(name, module, configuration, **fields):
    """A filter with the module in that file, and its configuration as text."""
    return typed("envoy.filters.http.wasm", "http.wasm.v3.Wasm", config={
        "name": name,
        "vm_config": {"vm_id": name, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(module)}}},
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": configuration},
        **fields,
    })


def sidecast(module, target=None, targets=1, capabilities=ROOT / "envoy/capabilities.json", each=(), **fields):
    """Our filter: each target configured as `target` says, the first as the first of `each` says besides, and so on; `fields` stand beside the
    targets. All that the module is allowed, of `capabilities` None."""
    own = [*each, *[{}] * targets]
    configuration = {"targets": [{**(target or {}), **own[number], "name": f"target-{number}", "cluster": f"target_{number}"} for number in range(targets)], **fields}
    allowed = {"capability_restriction_config": json.loads(capabilities.read_text())} if capabilities else {}
    return wasm("sidecast", module, json.dumps(configuration), fail_open=True, **allowed)


def native(targets=1):
    """What a route has in order to mirror by itself."""
    return {"request_mirror_policies": [{"cluster": f"target_{number}"} for number in range(targets)]}


def bootstrap(ports, filters=(), route=None):
    """One listener with these filters before the router; everything goes to `primary`, with what `route` has besides."""
    router = typed("envoy.filters.http.router", "http.router.v3.Router")
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "primary", **(route or {})}}]
    manager = typed(
        "envoy.filters.network.http_connection_manager", "network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="main", http_filters=[*filters, router],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    )
    return {
        "admin": {"address": address(0)},
        # What Envoy does by the clock is no request's.
        "stats_flush_interval": "299s",
        "static_resources": {
            "listeners": [{"name": "main", "address": address(0), "filter_chains": [{"filters": [manager]}]}],
            "clusters": [cluster(name, port) for name, port in ports.items()],
        },
    }


def cluster(name, port):
    endpoint = {"endpoint": {"address": address(port)}}
    # Nothing may get cheap by being dropped.
    most = {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "60s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
