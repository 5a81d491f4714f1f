#!/usr/bin/env python3
"""What a copy of a request costs, and what becomes known of it: Envoy without and with its own mirroring, with a filter written with the SDK and with
Sidecast; NGINX with `mirror`; a service in Python and one in Node.js that send the copy themselves. Everybody has the same load, the same machine and the same upstreams.

Three questions, each as a table in target/peers.md:

cpu       CPU time a request, at as many requests as there can be. All processes are up at once and take turns of a second; ratios are formed
          within a round. Each must have sent a copy of each request, with all bytes.
outcomes  500 requests, with a target that takes 100 ms and a primary that answers at once: of how many copies does each know the end?
hang      100 requests a second for 30 seconds, with a target that never answers: how much memory does that take, and what do clients notice?
"""

import argparse
import asyncio
import collections
import dataclasses
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
import typing
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts"))
from bootstrap import HEADERS, ROOT, bootstrap, filled, native, request, sidecast, wasm  # noqa: E402
from live import Envoy, Process, ending, free_port  # noqa: E402
from upstreams import SHORT, Failed, Upstreams  # noqa: E402

BODY = filled(1024)
REQUEST = request(BODY)
CONNECTIONS = 16
MARK = "peers:"
# With the status of each copy; NGINX writes them only if it is told to.
LOG = "log_format status '$uri $status'; log_subrequest on; access_log access.log status;"


@dataclasses.dataclass(frozen=True)
class Variant:
    what: str
    copies: bool
    # The process: out of the options, the upstreams' ports, its directory and its CPU.
    start: typing.Callable
    # Of how many copies the process has counted a good end, and of how many another.
    outcomes: typing.Callable = lambda process: (0, 0)


def envoy(filters=lambda options: [], route=None):
    def start(options, ports, directory, cpu):
        return Envoy(options.envoy, bootstrap(ports, filters(options), route), directory, cpu=cpu)
    return start


def nginx(mirror):
    def start(options, ports, directory, cpu):
        port = free_port()
        text = string.Template((HERE / "nginx.conf").read_text()).substitute(
            mirror="mirror /copy;" if mirror else "", log=LOG if options.logged else "access_log off;",
            primary=ports["primary"], target=ports["target_0"], port=port)
        (directory / "nginx.conf").write_text(text)
        return service([options.nginx, "-p", directory, "-e", "error.log", "-c", directory / "nginx.conf"], port, directory, cpu)
    return start


def program(command, copies):
    def start(options, ports, directory, cpu):
        port = free_port()
        target = {"TARGET": f"http://127.0.0.1:{ports['target_0']}"} if copies else {}
        primary = f"http://127.0.0.1:{ports['primary']}"
        return service(command(options, port), port, directory, cpu, PORT=str(port), PRIMARY=primary, **target)
    return start


def python(options, port):
    uvicorn = [sys.executable, "-B", "-m", "uvicorn", "service:app", "--app-dir", HERE, "--port", port]
    return [*uvicorn, "--log-level", "warning", "--no-access-log"]


def node(options, port):
    return [options.node, HERE / "service.mjs"]


def service(command, port, directory, cpu, **environment):
    process = Process(command, directory, cpu, **environment)
    process.port = port

    def answers():
        urllib.request.urlopen(f"http://127.0.0.1:{port}/outcomes", timeout=SHORT).read()
        return True

    try:
        process.until(answers)
    except BaseException:
        process.stop()
        raise
    return process


def told(process):
    with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/outcomes", timeout=SHORT) as answer:
        outcomes = json.load(answer)
    return outcomes["delivered"], outcomes["failed"]


def logged(process):
    log = process.directory / "access.log"
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    statuses = [status for path, status in lines if path == "/copy"]
    good = sum(status.startswith("2") for status in statuses)
    return good, len(statuses) - good


def counted(good, other):
    return lambda envoy: (envoy.statistic(good), envoy.statistic(other) if other else 0)


OURS = counted(r"wasmcustom\.sidecast\..*\.delivered$", r"wasmcustom\.sidecast\..*\.dropped\.")
VARIANTS = {
    "envoy": Variant("Envoy, no copy", False, envoy()),
    "envoy-native": Variant("Envoy, `request_mirror_policies`", True, envoy(route=native()),
                            counted(r"^cluster\.target_0\.upstream_rq_2xx$", r"^cluster\.target_0\.upstream_rq_5xx$")),
    "envoy-sdk": Variant("Envoy, filter written with the SDK", True, envoy(lambda options: [wasm("plain_filter", options.plain, "target_0")]),
                         counted(r"plain_filter\.outcomes$", None)),
    "envoy-sidecast": Variant("Envoy, Sidecast", True, envoy(lambda options: [sidecast(options.wasm)]), OURS),
    "nginx": Variant("NGINX, no copy", False, nginx(False)),
    "nginx-mirror": Variant("NGINX, `mirror`", True, nginx(True), logged),
    "python": Variant("Python (Starlette, httpx), no copy", False, program(python, False)),
    "python-copy": Variant("Python (Starlette, httpx), a background task", True, program(python, True), told),
    "node": Variant("Node.js (`http`), no copy", False, program(node, False)),
    "node-copy": Variant("Node.js (`http`), a promise that nobody awaits", True, program(node, True), told),
}


def wrk_script(path):
    headers = "".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n" for name, value in HEADERS.items() if name != "host")
    path.write_text(f"""wrk.method = "POST"
{headers}wrk.body = [==[{BODY.decode()}]==]
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{MARK}{{"requests":%d,"us":%d,"p50":%d,"p99":%d,"errors":%d}}\\n', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.timeout + e.status))
end
""")


def turn(process, variant, upstreams, script, seconds):
    """As many requests as it takes in so many seconds, on 16 connections."""
    before, size, cpu = upstreams.counts.copy(), upstreams.bytes.copy(), process.cpu_ns()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{process.port}/orders?source=web"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + SHORT)
    line = next((line for line in done.stdout.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise Failed(f"wrk ended without a report:\n{done.stdout}{done.stderr}")
    upstreams.quiet()
    cpu = process.cpu_ns() - cpu
    load = json.loads(line[len(MARK):])
    got = {name: upstreams.counts[name] - before[name] for name in upstreams.delays}
    # wrk hangs up in the middle of a request on each of its connections when the time is over.
    wrong = abs(got["primary"] - load["requests"]) > CONNECTIONS or load["requests"] == 0 or load["errors"]
    wrong = wrong or abs(got["target_0"] - (got["primary"] if variant.copies else 0)) > (CONNECTIONS if variant.copies else 0)
    wrong = wrong or any(upstreams.bytes[name] - size[name] != got[name] * len(BODY) for name in got)
    if wrong:
        raise Failed(f"{variant.what}: wrk reports {load}, and upstreams got {got}:\n{process.read_log()[-2000:]}")
    return {
        "cpu": cpu / 1000 / got["primary"], "per_second": load["requests"] / load["us"] * 1e6, "busy": cpu / 1000 / load["us"],
        "p50": load["p50"], "p99": load["p99"], "requests": got["primary"], "copies": got["target_0"], "load": os.getloadavg()[0],
    }


def cpu(options, upstreams, directory, pin):
    script, processes, rounds = directory / "wrk.lua", {}, []
    wrk_script(script)
    names = options.variants
    try:
        for name in names:
            (directory / name).mkdir()
            processes[name] = VARIANTS[name].start(options, upstreams.ports, directory / name, pin)
            warm, turns = 0, 0
            while warm < options.warm_up and turns < 10:
                one = turn(processes[name], VARIANTS[name], upstreams, script, options.seconds)
                warm, turns = warm + one["requests"], turns + 1
        for number in range(options.rounds):
            # None always follows the same neighbour.
            order = names[number // 2 % len(names):] + names[: number // 2 % len(names)]
            order = order[::-1] if number % 2 else order
            rounds.append({name: turn(processes[name], VARIANTS[name], upstreams, script, options.seconds) for name in order})
            print(f"  round {number + 1}: " + ", ".join(f"{name} {rounds[-1][name]['cpu']:.1f}" for name in names), file=sys.stderr, flush=True)
    finally:
        for process in processes.values():
            process.stop()
    return rounds


def middle(values, digits):
    """The median, with its quartiles."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def cpu_table(rounds):
    lines = ["| | CPU us/request | the copy, us | to its own without | to Envoy's own mirroring | requests/s | copies that arrived |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for name in rounds[0]:
        base = name.split("-")[0]
        pairs = [(one[name]["cpu"], one[base]["cpu"]) for one in rounds if base in one]
        copies = VARIANTS[name].copies and pairs
        mirrored = [one[name]["cpu"] / one["envoy-native"]["cpu"] for one in rounds if "envoy-native" in one and name != "envoy-native"]
        cells = [
            VARIANTS[name].what,
            middle([one[name]["cpu"] for one in rounds], 1),
            middle([cost - without for cost, without in pairs], 1) if copies else "-",
            middle([cost / without for cost, without in pairs], 2) if copies else "-",
            middle(mirrored, 2) if mirrored else "1",
            f"{statistics.median(one[name]['per_second'] for one in rounds):.0f}",
            f"{sum(one[name]['copies'] for one in rounds):,}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


class Client:
    """Sends requests by the clock, on connections that are kept; a request that finds none idle opens another."""

    def __init__(self, port):
        self.port, self.idle, self.latencies, self.unanswered, self.statuses = port, collections.deque(), [], 0, collections.Counter()

    async def one(self, due):
        try:
            async with asyncio.timeout(10):
                reader, writer = self.idle.popleft() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(REQUEST)
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:-2])
                await reader.readexactly(int(fields["content-length"]))
        except (OSError, EOFError, TimeoutError, LookupError):
            self.unanswered += 1
            return
        self.latencies.append(time.monotonic() - due)
        self.statuses[head.split()[1].decode()] += 1
        if fields.get("connection") == "close":
            writer.close()
        else:
            self.idle.append((reader, writer))

    async def run(self, count, per_second):
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                due = start + number / per_second
                await asyncio.sleep(max(0, due - time.monotonic()))
                group.create_task(self.one(due))


def paced(options, upstreams, directory, pin, names, count, per_second, delay, settle):
    """For each variant: requests by the clock while the target takes so long, and what is to be seen so many seconds after the last."""
    results = {}
    for name in names:
        place = directory / f"{name}-{delay}"
        place.mkdir()
        upstreams.delays["target_0"] = 0
        process = VARIANTS[name].start(options, upstreams.ports, place, pin)
        try:
            # What is allocated once is there; and so are the connections of clients.
            asyncio.run(Client(process.port).run(100, per_second))
            upstreams.quiet(0.3)
            before, counts, known = process.memory()["Rss"], upstreams.counts.copy(), VARIANTS[name].outcomes(process)
            upstreams.delays["target_0"] = delay
            client = Client(process.port)
            asyncio.run(client.run(count, per_second))
            rss = process.memory()["Rss"]
            time.sleep(settle)
            try:
                good, other = (now - then for now, then in zip(VARIANTS[name].outcomes(process), known))
            except OSError:
                raise Failed(f"{VARIANTS[name].what} no longer answers after {client.unanswered} requests without an answer")
            results[name] = {
                "sent": count, "unanswered": client.unanswered, "statuses": dict(client.statuses),
                "p50_ms": statistics.median(client.latencies) * 1000, "p99_ms": statistics.quantiles(client.latencies, n=100)[98] * 1000,
                "arrived": upstreams.counts["target_0"] - counts["target_0"], "good": good, "other": other,
                "rss_before_mib": before / 1024, "grown_mib": (rss - before) / 1024,
            }
            print(f"  {name}: {results[name]}", file=sys.stderr, flush=True)
        finally:
            process.stop()
    return results


def outcomes_table(results):
    lines = ["| | copies that arrived | whose end is counted | client's p50 · p99, ms |", "| --- | ---: | ---: | ---: |"]
    for name, one in results.items():
        lines.append(f"| {VARIANTS[name].what} | {one['arrived']} | {one['good']} | {one['p50_ms']:.1f} · {one['p99_ms']:.1f} |")
    return lines


def hang_table(results):
    lines = ["| | memory before, MiB | grown by, MiB | copies that arrived | known to have failed | clients without an answer in 10 s | client's p50 · p99, ms |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for name, one in results.items():
        cells = [VARIANTS[name].what, f"{one['rss_before_mib']:.0f}", f"{one['grown_mib']:.1f}", one["arrived"], one["other"], one["unanswered"],
                 f"{one['p50_ms']:.1f} · {one['p99_ms']:.1f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def machine(options, pin, others):
    model = next(line.split(": ")[1] for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    version = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True)
    nginx = version(options.nginx, "-v").stderr.strip().split("/")[-1]
    place = f"what is measured on CPU {pin}, load and upstreams on {sorted(others)}" if pin is not None else "not pinned"
    return (f"{time.strftime('%Y-%m-%d')}: Envoy {version(options.envoy, '--version').stdout.split('/')[-4]}, NGINX {nginx}, Python {platform.python_version()}, "
            f"Node.js {version(options.node, '--version').stdout.strip()}; {os.cpu_count()} CPUs, {model}; Linux {platform.release()}; {place}; load of the machine "
            f"{os.getloadavg()[0]:.1f} at the end")


def main():
    ending()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", default=["cpu", "outcomes", "hang"], help="cpu, outcomes, hang; all unless some are named")
    parser.add_argument("--envoy", type=pathlib.Path, default=ROOT / "target/envoy/1.40.0/envoy")
    parser.add_argument("--wasm", type=pathlib.Path, default=ROOT / "dist/sidecast.wasm")
    parser.add_argument("--plain", type=pathlib.Path, default=ROOT / "target/plain_filter.wasm")
    parser.add_argument("--node", type=pathlib.Path, required=True)
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx")
    parser.add_argument("--variants", default=",".join(VARIANTS), type=lambda text: text.split(","))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=1, help="seconds of a turn; wrk counts whole ones")
    parser.add_argument("--warm-up", type=int, default=5000, help="requests to each before the first round, but for no more than ten turns")
    parser.add_argument("--hang-seconds", type=int, default=30)
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "target/peers.md", help="the tables; beside it, as .json, all that was measured")
    options = parser.parse_args()
    options.envoy, options.wasm, options.plain, options.node = (path.absolute() for path in (options.envoy, options.wasm, options.plain, options.node))
    if unknown := [name for name in options.variants if name not in VARIANTS]:
        parser.error(f"no variant: {', '.join(unknown)}")
    if unknown := [name for name in options.questions if name not in ("cpu", "outcomes", "hang")]:
        parser.error(f"no question: {', '.join(unknown)}")
    # Each copy to a target that hangs holds a connection.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    pin, others = None, os.sched_getaffinity(0)
    if len(others) > 1:
        pin, *others = sorted(others)
        os.sched_setaffinity(0, others)
    upstreams, results, text = Upstreams(), {}, []
    copying = [name for name in options.variants if VARIANTS[name].copies]
    with tempfile.TemporaryDirectory(prefix="peers-") as directory:
        directory = pathlib.Path(directory)
        options.logged = False
        if "cpu" in options.questions:
            results["cpu"] = cpu(options, upstreams, directory, pin)
            text += ["", *cpu_table(results["cpu"])]
        options.logged = True
        if "outcomes" in options.questions:
            results["outcomes"] = paced(options, upstreams, directory, pin, copying, 500, 100, 0.1, 2)
            text += ["", *outcomes_table(results["outcomes"])]
        if "hang" in options.questions:
            results["hang"] = paced(options, upstreams, directory, pin, copying, 100 * options.hang_seconds, 100, None, 0)
            text += ["", *hang_table(results["hang"])]
    text = [machine(options, pin, others), *text]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join(text) + "\n")
    options.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"error: {problem}")
