"""Writes docs/images/dashboard.json: what a Prometheus answers to each query of the shipped dashboard, after some minutes of load on a real Envoy.

Services behind the targets fail, hang or answer otherwise for a while, so that each panel has something to show. scripts/draw-dashboard.py draws it.
"""

import argparse
import asyncio
import datetime
import json
import math
import pathlib
import random
import re
import signal
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import bootstrap
import dashboard
from live import Envoy, Process, ending, free_port
from upstreams import Failed, SHORT, take_request

ROOT = pathlib.Path(__file__).resolve().parent.parent
SCRAPE_S = 5
WARM_UP_S = 40
SCENE_S = 720
CLIENTS = 24
LABELS = {"namespace": "shop", "workload": "gateway", "instance": "gateway-1"}
EVERY_ORDER = [{"methods": ["POST"], "path": {"prefix": "/orders"}}]
RETRY = {"max_attempts": 4, "backoff": {"base": "100ms", "max": "2s"}, "budget": {"percent": 100, "min_per_second": 100}}
TARGETS = {
    "audit": {"retry": {**RETRY, "max_attempts": 3}, "dead_letter": {"cluster": "letters"}},
    "search": {"retry": RETRY},
    "analytics": {"batch": {"max_items": 50, "max_delay": "400ms"}, "request": {"path": "/bulk"}},
    "billing": {"after": "response", "statuses": ["2xx"], "limits": {"max_in_flight": 8, "max_queued": 600}, "timeout": "3s"},
    "canary": {"compare": {"ignore": ["/at"]}, "sample": {"percent": 50}, "timeout": "2s"},
}


class Service:
    """A service: how long it takes in seconds, and the share of requests that it answers with each status; None breaks the connection."""

    def __init__(self, delay, statuses=((200, 1.0),), other_body=0.0):
        self.delay, self.statuses, self.other_body = delay, statuses, other_body
        self.usual = (delay, statuses, other_body)

    def change(self, delay=None, statuses=None, other_body=None):
        self.delay, self.statuses, self.other_body = (
            given if given is not None else usual for given, usual in zip((delay, statuses, other_body), self.usual))

    def answer(self):
        """Its next answer, and after how long. None breaks the connection."""
        status = random.choices([one for one, _ in self.statuses], [share for _, share in self.statuses])[0]
        body = json.dumps({"state": "pending" if random.random() < self.other_body else "accepted", "at": time.time()}).encode()
        head = f"HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
        return self.delay * random.lognormvariate(0, 0.45), None if status is None else head + body


SERVICES = {
    "primary": Service(0.006, ((201, 0.97), (422, 0.03))),
    "audit": Service(0.004),
    "search": Service(0.011, ((200, 0.995), (503, 0.005))),
    "analytics": Service(0.030),
    "billing": Service(0.020),
    "canary": Service(0.009, ((201, 1.0),)),
    "letters": Service(0.003),
}
# From second to second: a service is another.
SCENE = [
    (120, 200, "billing", {"delay": 0.4}),
    (270, 360, "audit", {"statuses": ((None, 1.0),)}),
    (430, 520, "search", {"statuses": ((200, 0.45), (503, 0.55))}),
    (560, 650, "canary", {"delay": 0.04, "other_body": 0.25, "statuses": ((201, 0.85), (500, 0.15))}),
]


class Connection(asyncio.Protocol):
    def __init__(self, service):
        self.service, self.buffer = service, bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while take_request(self.buffer):
            delay, answer = self.service.answer()
            if answer is None:
                self.transport.abort()
                return
            asyncio.get_running_loop().call_later(delay, self.transport.write, answer)


def serve():
    """Starts the services; their ports, by name."""
    ports, ready = {}, threading.Event()

    async def run():
        for name, service in SERVICES.items():
            server = await asyncio.get_running_loop().create_server(lambda service=service: Connection(service), "127.0.0.1", 0, backlog=1024)
            ports[name] = server.sockets[0].getsockname()[1]
        ready.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    if not ready.wait(SHORT):
        raise Failed("the services did not start")
    return ports


def stats_tags():
    """Those of the shipped bootstrap: they make the labels."""
    text = (ROOT / "envoy/envoy.yaml").read_text()
    found = re.findall(r"- tag_name: (\w+)\n\s+regex: '(.+)'\n", text)
    if not found:
        raise Failed("envoy/envoy.yaml has no stats_tags")
    return [{"tag_name": name, "regex": regex} for name, regex in found]


def envoy_bootstrap(module, ports):
    targets = [{"name": name, "cluster": name, "match": EVERY_ORDER, **more} for name, more in TARGETS.items()]
    # Not with envoy/capabilities.json: with these nothing is compared.
    sidecast = bootstrap.wasm("sidecast", module, json.dumps({"targets": targets}), fail_open=True)
    whole = bootstrap.bootstrap(ports, [sidecast])
    return {**whole, "stats_flush_interval": "5s", "stats_config": {"stats_tags": stats_tags()}}


async def client(port, due):
    """Sends the requests that are due over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (size := await due.get()) is not None:
        writer.write(bootstrap.request(bootstrap.filled(size)))
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"(?i)content-length: *(\d+)", head)[1]))
    writer.close()


async def load(port, seconds):
    """A load that rises and falls, while the scene is played."""
    due = asyncio.Queue()
    clients = [asyncio.create_task(client(port, due)) for _ in range(CLIENTS)]
    begun, owed, before = time.monotonic(), 0.0, 0.0
    while (now := time.monotonic() - begun) < seconds:
        second = now - WARM_UP_S
        for start, end, name, change in SCENE:
            if start <= second < end:
                SERVICES[name].change(**change)
            elif end <= second < end + 2:
                SERVICES[name].change()
        rate = 55 + 18 * math.sin(second / 95) + 5 * math.sin(second / 17)
        owed, before = owed + rate * (now - before), now
        while owed >= 1:
            due.put_nowait(random.choice([120, 300, 300, 800, 2400]))
            owed -= 1
        for one in clients:
            if one.done():
                one.result()
        await asyncio.sleep(0.02)
    for _ in clients:
        due.put_nowait(None)
    await asyncio.gather(*clients)


def ask(port, query, start, end):
    """The series of a query, by step."""
    parameters = urllib.parse.urlencode({"query": query, "start": start, "end": end, "step": SCRAPE_S})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query_range?{parameters}", timeout=SHORT) as answer:
        result = json.load(answer)["data"]["result"]
    found = []
    for series in result:
        values = dict.fromkeys(range(start, end + 1, SCRAPE_S))
        for at, value in series["values"]:
            number = float(value)
            values[round(at)] = float(f"{number:.4g}") if math.isfinite(number) else None
        labels = {name: value for name, value in sorted(series["metric"].items()) if name != "__name__"}
        found.append({"labels": labels, "values": list(values.values())})
    return sorted(found, key=lambda series: sorted(series["labels"].items()))


def record(envoy, module, prometheus):
    shipped = dashboard.shipped()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        for name in ("envoy", "prometheus"):
            (directory / name).mkdir()
        proxy = Envoy(envoy, envoy_bootstrap(module, serve()), directory / "envoy", workers=2)
        try:
            admin = (directory / "envoy/admin").read_text().strip()
            port = free_port()
            configuration = {
                "global": {"scrape_interval": f"{SCRAPE_S}s"},
                "scrape_configs": [{"job_name": "envoy", "metrics_path": "/stats/prometheus", "static_configs": [{"targets": [admin], "labels": LABELS}]}],
            }
            # JSON is YAML.
            (directory / "prometheus/prometheus.yml").write_text(json.dumps(configuration))
            command = [prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}"]
            database = Process(command, directory / "prometheus")
            try:
                database.until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=SHORT).status == 200)
                begun = int(time.time())
                asyncio.run(load(proxy.port, WARM_UP_S + SCENE_S))
                start = begun + WARM_UP_S
                end = start + SCENE_S
                variables = {"job": "envoy", "namespace": ".*", "workload": ".*", "instance": ".+", "target": "|".join(TARGETS),
                             "__rate_interval": f"{4 * SCRAPE_S}s", "__range": f"{SCENE_S}s"}
                answers = [{"query": query, "series": ask(port, dashboard.filled(query, variables), start, end)} for query in dashboard.queries(shipped)]
            finally:
                database.stop()
        finally:
            proxy.stop()
    version = re.search(r"/(\d+\.\d+\.\d+)/", str(envoy))
    return {
        "recorded": datetime.datetime.fromtimestamp(start, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "envoy": version[1] if version else "unknown",
        "step_s": SCRAPE_S,
        "variables": variables,
        "answers": answers,
    }


def write(recorded, path):
    """One series a line."""
    head = json.dumps({**recorded, "answers": []}, indent=1).removesuffix("[]\n}")
    parts = []
    for answer in recorded["answers"]:
        series = ",\n".join(f"   {json.dumps(one, separators=(',', ':'))}" for one in answer["series"])
        parts.append(f'  {{"query": {json.dumps(answer["query"])}, "series": [\n{series}\n  ]}}')
    path.write_text(f"{head}[\n" + ",\n".join(parts) + "\n ]\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envoy", required=True)
    parser.add_argument("--wasm", required=True, type=pathlib.Path)
    parser.add_argument("--prometheus", default="prometheus")
    parser.add_argument("--output", type=pathlib.Path, default=dashboard.DATA)
    options = parser.parse_args()
    ending(signal.SIGTERM)
    write(record(options.envoy, options.wasm.resolve(), options.prometheus), options.output)


if __name__ == "__main__":
    main()
