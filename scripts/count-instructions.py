#!/usr/bin/env python3
"""How many instructions Envoy executes for a request, counted by valgrind's callgrind: unlike times, they repeat on a busy machine.

One Envoy per case, with one worker, sees POSTs of 1 KiB on one connection, one after the other. Upstreams, which are not counted, answer at once.
After a warm-up, in which V8 compiles what runs often, the counter is read before and after each window of so many requests. The median window is
the result; the spread says what it is worth. All threads of Envoy are counted, so a flush of statistics or a collection of garbage is in it.
"""

import argparse
import asyncio
import json
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BODY = b'{"order":4711,"note":"%s"}' % (b"x" * 1000)
# Headers such as a service inside a mesh sees, as in benches/side_by_side.
HEADERS = {
    "host": "shop.example",
    "accept": "application/json",
    "accept-encoding": "gzip, deflate, br",
    "authorization": "Bearer 0123456789abcdef0123456789abcdef",
    "content-type": "application/json",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "user-agent": "orders/1.4.2",
    "x-user-id": "c0ffee",
    "content-length": str(len(BODY)),
}
REQUEST = ("POST /orders?source=web HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()) + "\r\n").encode() + BODY
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
# What is mirrored, and whether a filter stands in the chain; all with one target.
CASES = {
    "none": "no filter, nothing mirrored",
    "native": "request_mirror_policies",
    "mirrored": "the filter, one target",
    "unwanted": "the filter, a rule that does not match",
}
SHORT = 60  # Seconds that an answer, or an end, may take under valgrind.
START = 600


class Upstream(asyncio.Protocol):
    """Counts requests and answers each at once, when its body is there."""

    def __init__(self, counts, name):
        self.counts, self.name, self.buffer = counts, name, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.buffer[:end])
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            self.buffer = self.buffer[size:]
            self.counts[self.name] += 1
            self.transport.write(ANSWER)


def start_upstreams():
    """Their ports, and how many requests each has had."""
    counts, ports, ready = {"primary": 0, "target": 0}, {}, threading.Event()

    async def serve():
        loop = asyncio.get_running_loop()
        for name in counts:
            server = await loop.create_server(lambda name=name: Upstream(counts, name), "127.0.0.1", 0)
            ports[name] = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    if not ready.wait(SHORT):
        sys.exit("error: the upstreams did not start")
    return ports, counts


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def typed(name, kind, **fields):
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.filters.{kind}", **fields}}


def bootstrap(case, ports, options):
    route, filters = {"cluster": "primary"}, []
    if case == "native":
        route["request_mirror_policies"] = [{"cluster": "target"}]
    elif case != "none":
        target = {"name": "target", "cluster": "target"}
        if case == "unwanted":
            target["match"] = [{"methods": ["GET", "POST"], "path": {"prefix": "/never"}}]
        config = {
            "name": "sidecast",
            "fail_open": True,
            "vm_config": {"vm_id": "sidecast", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(options.wasm)}}},
            "capability_restriction_config": json.loads(options.capabilities.read_text()),
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps({"targets": [target]})},
        }
        filters.append(typed("envoy.filters.http.wasm", "http.wasm.v3.Wasm", config=config))
    filters.append(typed("envoy.filters.http.router", "http.router.v3.Router"))
    routes = {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]}
    name, kind = "envoy.filters.network.http_connection_manager", "network.http_connection_manager.v3.HttpConnectionManager"
    manager = typed(name, kind, stat_prefix="main", route_config=routes, http_filters=filters)
    clusters = [
        {"name": name, "type": "STATIC", "load_assignment": {
            "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}
        for name, port in ports.items()
    ]
    listener = {"name": "main", "address": address(0), "filter_chains": [{"filters": [manager]}]}
    return {"admin": {"address": address(0)}, "static_resources": {"listeners": [listener], "clusters": clusters}}


class Envoy:
    """An Envoy under callgrind, in a directory of its own."""

    def __init__(self, case, ports, options, directory):
        self.directory = directory
        (directory / "envoy.json").write_text(json.dumps(bootstrap(case, ports, options)))
        self.log = open(directory / "log", "wb")
        # The prefix of vgdb's pipes, as the callgrind files, is the directory's: two runs at a time do not meet.
        self.pipes = f"--vgdb-prefix={directory}/vgdb"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/counts", self.pipes]
        envoy = [str(options.envoy), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
        envoy += ["-c", str(directory / "envoy.json"), "--admin-address-path", str(directory / "admin")]
        self.process = subprocess.Popen(valgrind + envoy, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.dumps = 0

    def connect(self):
        """A connection to its listener, once it serves."""
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.5)
            try:
                admin = (self.directory / "admin").read_text().strip()
                with urllib.request.urlopen(f"http://{admin}/listeners?format=json", timeout=SHORT) as answer:
                    listeners = json.load(answer)["listener_statuses"]
                port = listeners[0]["local_address"]["socket_address"]["port_value"]
                return socket.create_connection(("127.0.0.1", port), timeout=SHORT)
            except (OSError, ValueError, LookupError):
                continue
        sys.exit("error: Envoy did not come up under valgrind:\n" + (self.directory / "log").read_text(errors="replace")[-4000:])

    def instructions(self):
        """How many were executed since the last time."""
        self.dumps += 1
        vgdb = ["vgdb", self.pipes, f"--pid={self.process.pid}", "dump"]
        subprocess.run(vgdb, check=True, timeout=2 * SHORT, stdout=self.log, stderr=self.log)
        text = (self.directory / f"counts.{self.dumps}").read_text(errors="replace")
        return int(re.findall(r"^(?:totals|summary): (\d+)", text, re.M)[-1])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SHORT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def send(connection, count):
    for _ in range(count):
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            data = connection.recv(65536)
            if not data:
                sys.exit("error: Envoy closed the connection")
            answer += data
        if not answer.startswith(b"HTTP/1.1 200 "):
            sys.exit(f"error: Envoy answered {answer[:200]!r}")


def settle(counts, expected):
    """Waits until all copies have arrived, and a little longer: Envoy still has to read the answer."""
    end = time.monotonic() + SHORT
    while counts["target"] < expected and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.3)
    if counts["target"] != expected:
        sys.exit(f"error: the target got {counts['target']} copies, not {expected}")


def measure(case, ports, counts, options):
    with tempfile.TemporaryDirectory(prefix="count-instructions-") as directory:
        envoy = Envoy(case, ports, options, pathlib.Path(directory))
        try:
            connection = envoy.connect()
            copied = case in ("native", "mirrored")
            windows = []
            for size in [options.warm_up] + [options.requests] * options.windows:
                expected = counts["target"] + (size if copied else 0)
                send(connection, size)
                settle(counts, expected)
                windows.append(round(envoy.instructions() / size))
            return windows[1:]
        finally:
            envoy.stop()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that its Envoy ends, too.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envoy", type=pathlib.Path, default=ROOT / "target/envoy/1.40.0/envoy")
    parser.add_argument("--wasm", type=pathlib.Path, default=ROOT / "dist/sidecast.wasm")
    parser.add_argument("--capabilities", type=pathlib.Path, default=ROOT / "envoy/capabilities.json", help="what Envoy allows the module")
    parser.add_argument("--cases", default=",".join(CASES), help="which of them, with commas between")
    parser.add_argument("--warm-up", type=int, default=3000, help="requests before the first window")
    parser.add_argument("--requests", type=int, default=1000, help="requests of a window")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "target/instructions.json")
    options = parser.parse_args()
    options.envoy, options.wasm = options.envoy.absolute(), options.wasm.absolute()
    cases = options.cases.split(",")
    for missing in [path for path in (options.envoy, options.wasm, options.capabilities) if not path.is_file()]:
        sys.exit(f"error: there is no {missing}")
    if unknown := [case for case in cases if case not in CASES]:
        sys.exit(f"error: no case: {', '.join(unknown)}")
    ports, counts = start_upstreams()
    results = {}
    print(f"{'case':10} {'instructions':>12}  {'windows':17}  what")
    for case in cases:
        windows = measure(case, ports, counts, options)
        results[case] = {"instructions": round(statistics.median(windows)), "windows": windows}
        spread = f"{min(windows):,}..{max(windows):,}"
        print(f"{case:10} {results[case]['instructions']:12,}  {spread:17}  {CASES[case]}", flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    settings = {"warm_up": options.warm_up, "requests": options.requests, "windows": options.windows}
    options.output.write_text(json.dumps({"settings": settings, "cases": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
