#!/usr/bin/env python3
"""How much memory a filter takes in Envoy, by case and number of workers: at start, and after a load.

Each Envoy gets POSTs of 1 KiB on 16 connections, with upstreams that answer at once. Read are the sums that the kernel keeps
(/proc/PID/smaps_rollup: all pages that are in memory, the private ones that were written, those of no file) and what Envoy's allocator says of itself
(the admin page /memory: what is handed out, and what is free but kept). The result is the median of several processes.
"""

import argparse
import json
import pathlib
import socket
import statistics
import sys
import tempfile
import time

from bootstrap import ROOT, bootstrap, filled, request, sidecast, wasm
from live import Envoy, ending
from upstreams import Failed, Upstreams

CASES = {
    "none": "no filter",
    "empty": "a module of 105 bytes that does nothing: what V8 takes",
    "plain": "a mirror written with the SDK",
    "sidecast": "the filter, one target",
}
FIELDS = {"rss": "Rss", "dirty": "Private_Dirty", "anonymous": "Anonymous"}
CONNECTIONS = 16
REQUEST = request(filled(1024))
SHORT = 60


def number(value):
    """LEB128, which WebAssembly writes its integers in."""
    more, rest = value & 127, value >> 7
    return bytes([more | 128]) + number(rest) if rest else bytes([more])


def text(value):
    return number(len(value)) + value.encode()


def vector(items):
    return number(len(items)) + b"".join(items)


def section(kind, items):
    content = vector(items)
    return bytes([kind]) + number(len(content)) + content


def empty_module():
    """The least that Envoy takes: the version of the interface, a memory of one page, an allocator that says no. It gets no callback."""
    functions = {"proxy_abi_version_0_2_1": 0, "proxy_on_memory_allocate": 1}
    exports = [text(name) + b"\x00" + number(index) for index, name in enumerate(functions)]
    types = [b"\x60\x00\x00", b"\x60\x01\x7f\x01\x7f"]
    codes = [b"\x02\x00\x0b", b"\x04\x00\x41\x00\x0b"]
    sections = [
        section(1, types),
        section(3, [number(kind) for kind in functions.values()]),
        section(5, [b"\x00\x01"]),
        section(7, [*exports, text("memory") + b"\x02\x00"]),
        section(10, codes),
    ]
    return b"\x00asm\x01\x00\x00\x00" + b"".join(sections)


def configuration(case, ports, options, modules):
    filters = []
    if case == "sidecast":
        filters = [sidecast(modules[case])]
    elif case != "none":
        filters = [wasm(case, modules[case], "target_0")]
    result = bootstrap(ports, filters)
    for path, value in options.set:
        place = result
        *parents, last = path.split(".")
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = value
    return result


def read(envoy):
    """In KiB."""
    sums, allocator = envoy.memory(), envoy.ask("/memory")
    figures = {name: sums[field] for name, field in FIELDS.items()}
    return {**figures, "allocated": int(allocator["allocated"]) >> 10, "kept": int(allocator["pageheap_free"]) >> 10}


def load(port, requests):
    connections = [socket.create_connection(("127.0.0.1", port), timeout=SHORT) for _ in range(CONNECTIONS)]
    for _ in range(requests // CONNECTIONS):
        for connection in connections:
            connection.sendall(REQUEST)
        for connection in connections:
            answer = b""
            while not answer.endswith(b"\r\n\r\nok"):
                data = connection.recv(65536)
                if not data:
                    raise Failed("Envoy closed the connection")
                answer += data
    for connection in connections:
        connection.close()


def measure(case, workers, upstreams, modules, options):
    with tempfile.TemporaryDirectory(prefix="measure-memory-") as directory:
        envoy = Envoy(options.envoy, configuration(case, upstreams.ports, options, modules), pathlib.Path(directory), workers)
        try:
            time.sleep(options.settle)
            before, start = read(envoy), upstreams.counts["target_0"]
            load(envoy.port, options.requests)
            time.sleep(options.settle)
            copies = upstreams.counts["target_0"] - start
            expected = options.requests // CONNECTIONS * CONNECTIONS if case in ("plain", "sidecast") else 0
            if copies != expected:
                raise Failed(f"{case}: {copies} copies arrived, not {expected}")
            return {"start": before, "loaded": read(envoy)}
        finally:
            envoy.stop()


def main():
    ending()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envoy", type=pathlib.Path, default=ROOT / "target/envoy/1.40.0/envoy")
    parser.add_argument("--sidecast", type=pathlib.Path, default=ROOT / "dist/sidecast.wasm")
    parser.add_argument("--plain", type=pathlib.Path, default=ROOT / "target/plain_filter.wasm")
    parser.add_argument("--cases", default=",".join(CASES), help="cases, separated by commas")
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--settle", type=float, default=1, help="seconds to wait before memory is read")
    parser.add_argument("--set", action="append", default=[], metavar="PLACE=JSON", help="a value in the bootstrap, such as memory_allocator_manager={}")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "target/memory.json")
    options = parser.parse_args()
    options.set = [(place, json.loads(value)) for place, value in (item.split("=", 1) for item in options.set)]
    cases, workers = options.cases.split(","), [int(count) for count in options.workers.split(",")]
    if unknown := [case for case in cases if case not in CASES]:
        sys.exit(f"error: unknown cases: {', '.join(unknown)}")
    options.envoy, options.sidecast, options.plain = (path.absolute() for path in (options.envoy, options.sidecast, options.plain))
    needed = [options.envoy] + [getattr(options, case) for case in cases if case in ("plain", "sidecast")]
    for missing in [path for path in needed if not path.is_file()]:
        sys.exit(f"error: {missing} is missing")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    empty = options.output.absolute().with_name("empty.wasm")
    empty.write_bytes(empty_module())
    modules = {"empty": empty, "plain": options.plain, "sidecast": options.sidecast}
    upstreams = Upstreams()
    results = {}
    for run in range(options.runs):
        for case in cases:
            for count in workers:
                results.setdefault((case, count), []).append(measure(case, count, upstreams, modules, options))
                print(f"run {run + 1} of {options.runs}: {case}, {count} workers", file=sys.stderr, flush=True)
    columns = [*FIELDS, "allocated", "kept"]
    print("| case | workers | when | " + " | ".join(columns) + " |\n| --- | ---: | --- |" + " ---: |" * len(columns))
    for (case, count), runs in results.items():
        for when in ("start", "loaded"):
            cells = [f"{statistics.median(run[when][column] for run in runs) / 1024:.1f}" for column in columns]
            print(f"| {case} | {count} | {when} | " + " | ".join(cells) + " |")
    rows = [{"case": case, "workers": count, "runs": runs} for (case, count), runs in results.items()]
    options.output.write_text(json.dumps({"requests": options.requests, "unit": "KiB", "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"error: {problem}")
