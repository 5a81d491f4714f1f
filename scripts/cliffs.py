#!/usr/bin/env python3
"""What a request costs Envoy as one thing about it grows: straight lines, or a cliff?

Each line is a variant of Envoy, with one worker, that gets one request after the other. It is measured twice: in instructions, which callgrind
counts, and in CPU time, which the kernel counts. A line is straight if a further unit costs no more beyond the last point but one than before it, within
`BEND`. The results go to a JSON file and a picture.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import platform
import signal
import statistics
import sys
import tempfile
import time
import typing
import urllib.request

import callgrind
from bootstrap import HEADERS, ROOT, bootstrap, filled, native, request, sidecast
from upstreams import ANSWER, Failed, Upstreams

# How much more a further unit may cost at the far end.
BEND = 1.5
# A line that rises by less than this, of what it has reached, is level: its slope is noise.
LEVEL = 0.1
# Bodies of 1 MiB, and ten thousand calls, take long under callgrind on a busy machine.
SHORT = callgrind.SHORT = 600


@dataclasses.dataclass(frozen=True)
class Point:
    """A request, and what it has to lead to."""

    x: int
    request: bytes
    # Which of the listeners gets it.
    listener: int = 0
    # What the upstreams answer.
    answer: bytes = ANSWER
    # How many requests, each with its copies, make up one that is measured: those of a batch.
    times: int = 1
    # Calls to targets for each of `times` requests together.
    calls: int = 0
    # How many calls are under way meanwhile, which no target answers.
    held: int = 0
    # What must hold of the body of the last call.
    check: typing.Callable[[bytes], bool] = lambda body: True


@dataclasses.dataclass(frozen=True)
class Line:
    axis: str
    name: str
    # The filters and the route of each listener.
    listeners: list
    points: list
    targets: int = 1
    # What of a target's statistics must be as high as the number of copies.
    outcome: str = ""

    @property
    def full_name(self):
        return f"{self.axis}: {self.name}"


# What grows, its unit, and the title of its picture.
AXES = {
    "body": ("KiB", "body, 1 KiB to 1 MiB"),
    "batch": ("item", "items of 1 KiB in a batch, per batch"),
    "targets": ("target", "targets"),
    "headers": ("header", "headers"),
    "rules": ("rule", "rules, over ten targets, none of which matches"),
    "in flight": ("call", "calls under way"),
}


def orders(kibibytes):
    """A list of orders, as JSON of nearly that size."""
    entry = lambda number: '{"id":1%06d,"name":"An order of things","price":12.50,"tags":["a","b"],"at":null}' % number
    count = (kibibytes * 1024 - 2) // (len(entry(0)) + 1)
    return ("[" + ",".join(map(entry, range(count))) + "]").encode()


def answer(body, kind="application/json"):
    return b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n" % (kind.encode(), len(body)) + body


def every_line(module):
    none, ours = ([], None), lambda target=None, targets=1, **fields: ([sidecast(module, target, targets, **fields)], None)
    mirrored = lambda targets=1: ([], {**native(targets), "timeout": "600s"})
    slow = {"timeout": "600s"}

    sizes = [1, 4, 16, 64, 256, 1024]
    body = lambda calls, check=lambda size: lambda body: True, times=1: [
        Point(size, request(orders(size)), calls=calls, times=times, check=check(size)) for size in sizes]
    whole = lambda size: lambda body: body == orders(size)
    yield Line("body", "no filter", [none], body(0))
    yield Line("body", "native", [mirrored()], body(1, whole))
    yield Line("body", "sidecast", [ours(slow)], body(1, whole))
    template = {"request": {"body": {"template": {"all": "${body}", "first": "${body:/0/name}"}}}, **slow}
    made = lambda size: lambda body: json.loads(body) == {"all": json.loads(orders(size)), "first": "An order of things"}
    yield Line("body", "template", [ours(template)], body(1, made))
    redact = {"request": {"body": {"redact": ["/*/name"]}}, **slow}
    masked = lambda size: lambda body: body == orders(size).replace(b"An order of things", b"[redacted]")
    yield Line("body", "redaction", [ours(redact)], body(1, masked))
    batch = {"batch": {"max_items": 2, "max_delay": "60s", "max_bytes": "16MiB"}, **slow}
    twice = lambda size: lambda body: json.loads(body) == [json.loads(orders(size))] * 2
    yield Line("body", "batch of two", [ours(batch)], body(1, twice, 2))
    compared = [Point(size, request(filled(1024)), answer=answer(orders(size)), calls=1) for size in sizes]
    # The callbacks for responses are on no list of the least.
    yield Line("body", "comparison of responses", [ours({"compare": {}, **slow}, capabilities=None)], compared, outcome="compare.match")
    yield Line("body", "native, responses", [mirrored()], compared)

    counts = [1, 3, 10, 30, 100, 300, 1000]
    batches = [ours({"batch": {"max_items": count, "max_delay": "60s", "max_bytes": "16MiB"}, **slow}) for count in counts]
    items = lambda count: lambda body: json.loads(body) == [json.loads(filled(1024))] * count
    yield Line("batch", "sidecast", batches, [
        Point(count, request(filled(1024)), listener, times=count, calls=1, check=items(count)) for listener, count in enumerate(counts)])

    fan = [1, 2, 4, 8, 16, 32]
    to = [Point(count, request(filled(1024)), listener, calls=count) for listener, count in enumerate(fan)]
    yield Line("targets", "native", [mirrored(count) for count in fan], to, targets=32)
    yield Line("targets", "sidecast", [ours(slow, count) for count in fan], to, targets=32)

    names = [10, 30, 100, 300, 1000]
    # The usual ones are among them.
    with_headers = lambda calls: [
        Point(count, request(filled(1024), HEADERS | {f"x-header-{number:04}": "a value" for number in range(count - len(HEADERS))}), calls=calls)
        for count in names]
    rule = lambda condition: {"match": [{"headers": [{"name": "x-none", **condition}]}]}
    yield Line("headers", "no filter", [none], with_headers(0))
    yield Line("headers", "native", [mirrored()], with_headers(1))
    yield Line("headers", "sidecast", [ours(slow)], with_headers(1))
    shaped = {"request": {"headers": {"remove": ["x-none"], "set": {"x-set": "${header:x-user-id}"}}}, **slow}
    yield Line("headers", "headers set and removed", [ours(shaped)], with_headers(1))
    yield Line("headers", "unwanted", [ours(rule({"exact": "a"}))], with_headers(0))

    numbers = [10, 100, 1000, 10_000]
    first = [Point(count, request(), listener) for listener, count in enumerate(numbers)]
    split = lambda count, rule: [
        {"match": [rule(number) for number in range(target * count // 10, (target + 1) * count // 10)]} for target in range(10)]
    ruled = lambda rule: [([sidecast(module, targets=10, each=split(count, rule))], None) for count in numbers]
    yield Line("rules", "prefixes", ruled(lambda number: {"path": {"prefix": f"/ord{number:05}"}}), first, targets=10)
    yield Line("rules", "headers", ruled(lambda number: {"headers": [{"name": "x-user-id", "exact": f"{number:06}"}]}), first, targets=10)
    yield Line("rules", "patterns", ruled(lambda number: {"path": {"regex": f".*/{number}x"}}), first, targets=10)

    held = [10, 100, 1000, 10_000]
    flying = [Point(count, request(filled(1024)), calls=1, held=count) for count in held]
    yield Line("in flight", "native", [mirrored()], flying)
    yield Line("in flight", "sidecast", [ours({"limits": {"max_in_flight": 1_000_000}, **slow})], flying)


class Timed(callgrind.Envoy):
    """An Envoy whose CPU time is counted."""

    def before(self):
        return []

    def count_on(self):
        self.count()

    def count(self):
        """Nanoseconds of all threads, since the last time."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        now = sum(int(task.read_text().split()[0]) for task in tasks)
        spent, self.spent = now - getattr(self, "spent", 0), now
        return spent


class Counted(callgrind.Envoy):
    # Answers that are held back are waited for by the clock.
    slow = False

    def count(self):
        return super().count().all


def raised(bootstrap):
    """The bootstrap with Envoy's own limits out of the way."""
    for listener in bootstrap["static_resources"]["listeners"]:
        listener["per_connection_buffer_limit_bytes"] = 8 << 20
        for filter in listener["filter_chains"][0]["filters"]:
            filter["typed_config"] |= {"max_request_headers_kb": 1024, "common_http_protocol_options": {"max_headers_count": 2000}}
    return bootstrap


def whole_bootstrap(line, ports):
    alone = [bootstrap(ports, filters, route) for filters, route in line.listeners]
    listeners = [one["static_resources"]["listeners"][0] | {"name": f"listener-{number:02}"} for number, one in enumerate(alone)]
    return raised(alone[0] | {"static_resources": alone[0]["static_resources"] | {"listeners": listeners}})


def statistics_of(envoy, name):
    """The sum of a statistic over the targets."""
    admin = (envoy.directory / "admin").read_text().strip()
    with urllib.request.urlopen(f"http://{admin}/stats?filter=%5C.{name}$", timeout=SHORT) as answer:
        return sum(int(line.rsplit(b": ", 1)[1]) for line in answer.read().splitlines() if b": " in line)


class Run:
    """A line while it is measured."""

    def __init__(self, line, kind, directory, options):
        self.line, self.options = line, options
        self.upstreams = Upstreams(line.targets)
        self.envoy = kind(options.envoy, whole_bootstrap(line, self.upstreams.ports), directory)
        self.calls = 0

    def send(self, point, count):
        """Sends so many, as often as the point says, and waits for all calls."""
        self.upstreams.answer = point.answer
        self.connections[point.listener].send(point.request, count * point.times)
        self.calls += count * point.calls
        end = time.monotonic() + SHORT
        arrived = lambda: sum(self.upstreams.counts[name] for name in self.upstreams.names[1:])
        while arrived() < self.calls and time.monotonic() < end:
            time.sleep(0.005)
        # Envoy still has to read the answers.
        time.sleep(self.options.pause)
        if arrived() != self.calls:
            raise Failed(f"{self.line.full_name}, {point.x}: {arrived()} calls, not {self.calls}")

    def hold(self, point):
        """Makes sure that so many calls are under way."""
        self.upstreams.hold = True
        self.send(point, point.held - len(self.upstreams.held))
        self.upstreams.hold = False

    def points(self, amount):
        """What each point costs: the median of the windows. `amount` is how many requests of the first point make a window."""
        self.connections = self.envoy.connect_all()
        points = self.line.points
        sizes = [max(2, round(amount * 16 / (16 + weight(point, points[0]) * 16 / 10))) for point in points]
        # V8 compiles what runs often.
        self.send(points[0], max(1, self.options.warm_up // points[0].times))
        for point, size in zip(points, sizes):
            if not point.held:
                self.send(point, size)
        if not points[0].held:
            self.envoy.count_on()
        results = []
        for number, (point, size) in enumerate(zip(points, sizes)):
            if point.held:
                # Counting makes it slow, and nobody wants to know what it costs to get there.
                self.hold(point)
                self.send(point, size)
                if number == 0:
                    self.envoy.count_on()
            windows = []
            for window in range(self.options.windows + 1):
                self.send(point, size)
                spent = self.envoy.count() / size
                # The first one warms up again.
                if window:
                    windows.append(spent)
            _, _, body = self.upstreams.last.get("target_0", b"").partition(b"\r\n\r\n")
            if not point.check(body):
                raise Failed(f"{self.line.full_name}, {point.x}: the target got {body[:300]!r}")
            results.append({"x": point.x, "cost": round(statistics.median(windows)), "windows": list(map(round, windows))})
        if self.line.outcome and (is_counted := statistics_of(self.envoy, self.line.outcome)) != self.calls:
            raise Failed(f"{self.line.full_name}: {self.line.outcome} is {is_counted}, not {self.calls}")
        return results


def weight(point, first):
    """How many times as much a request of this point is about."""
    size = lambda point: len(point.request) + len(point.answer) + 1000 * point.calls
    return point.times * size(point) / (first.times * size(first))


def measure(line, kind, amount, options):
    with tempfile.TemporaryDirectory(prefix="cliffs-") as directory:
        run = Run(line, kind, directory, options)
        try:
            return run.points(amount)
        finally:
            run.envoy.stop()


def slope(one, other):
    return (other["cost"] - one["cost"]) / (other["x"] - one["x"])


def bend(points):
    """How many times as much a further unit costs beyond the last point but one as before it."""
    first, middle, last = points[0], points[-2], points[-1]
    level = LEVEL * middle["cost"] / (last["x"] - middle["x"])
    return max(slope(middle, last), level) / max(slope(first, middle), level)


def draw(results, path):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "cliffs"  # The same bytes for the same figures.
    from matplotlib import pyplot

    axes_names = [axis for axis in AXES if any(line["axis"] == axis for line in results)]
    rows = (len(axes_names) + 1) // 2
    figure, places = pyplot.subplots(rows, 2, figsize=(12, 4.2 * rows), layout="constrained", squeeze=False)
    figure.suptitle("Instructions of Envoy for a request, in thousands: straight lines through the first point and the last but one")
    for place, axis in zip(places.flat, axes_names):
        for line in (line for line in results if line["axis"] == axis):
            points = line["instructions"]
            xs, ys = [point["x"] for point in points], [point["cost"] / 1000 for point in points]
            drawn = place.plot(xs, ys, "o", label=line["name"])[0]
            rise = slope(points[0], points[-2]) / 1000
            grid = [xs[0] * (xs[-1] / xs[0]) ** (step / 60) for step in range(61)]
            place.plot(grid, [ys[0] + rise * (x - xs[0]) for x in grid], "-", color=drawn.get_color(), linewidth=0.8)
        place.set(title=AXES[axis][1], xlabel=axis if AXES[axis][0] != "KiB" else "KiB", xscale="log", yscale="log")
        place.grid(True, which="major", alpha=0.3)
        place.legend(fontsize="small")
    for place in places.flat[len(axes_names):]:
        place.set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def table(results):
    """Markdown."""
    lines = ["| grows | variant | at first | instructions | at last | instructions | per unit | bend | CPU µs | CPU µs | per unit, ns | bend |",
             "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for line in results:
        unit, cells = AXES[line["axis"]][0], []
        for what, scale in (("instructions", 1), ("nanoseconds", 1000)):
            if what not in line:
                cells += ["", "", "", ""]
                continue
            points = line[what]
            first, last = points[0], points[-1]
            ends = [f"{first['cost'] / scale:,.0f}", f"{last['cost'] / scale:,.0f}"]
            cells += [*ends, f"{slope(first, last):,.0f}", f"{bend(points):.2f}"]
        points = line.get("instructions") or line["nanoseconds"]
        lines.append(f"| {line['axis']} | {line['name']} | {points[0]['x']:,} {unit} | {cells[0]} | {points[-1]['x']:,} | " + " | ".join(cells[1:]) + " |")
    return "\n".join(lines)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that its Envoys end, too.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envoy", type=pathlib.Path, default=ROOT / "target/envoy/1.40.0/envoy")
    parser.add_argument("--wasm", type=pathlib.Path, default=ROOT / "dist/sidecast.wasm")
    parser.add_argument("--lines", default="", help="only lines whose name contains one of these, separated by commas: `body: template,rules`")
    parser.add_argument("--warm-up", type=int, default=1500, help="requests before anything is counted")
    parser.add_argument("--requests", type=int, default=150, help="requests per window at the first point; fewer at later points")
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds after the last copy")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="lines at a time, while instructions are counted")
    parser.add_argument("--only", choices=["instructions", "nanoseconds"], help="measure only this")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "target/cliffs", help="path without .json and .svg")
    options = parser.parse_args()
    try:
        run(options)
    except (Failed, OSError) as problem:
        sys.exit(f"error: {problem}")


def run(options):
    options.envoy = options.envoy.absolute()
    for missing in [path for path in (options.envoy, options.wasm) if not path.is_file()]:
        raise Failed(f"{missing} is missing")
    wanted = [part.strip() for part in options.lines.split(",")]
    lines = [line for line in every_line(options.wasm.absolute()) if any(part in line.full_name for part in wanted)]
    results = [{"axis": line.axis, "name": line.name} for line in lines]
    if options.only != "nanoseconds":
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            counted = pool.map(lambda line: measure(line, Counted, options.requests, options), lines)
            for result, points in zip(results, counted):
                result["instructions"] = points
                show(result, "instructions")
    if options.only != "instructions":
        # One at a time, and more of them: times vary.
        for result, line in zip(results, lines):
            result["nanoseconds"] = measure(line, Timed, 4 * options.requests, options)
            show(result, "nanoseconds")
    document = {"machine": machine(), "bend": BEND, "lines": results}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    print(table(results))
    if options.only != "nanoseconds":
        draw(results, options.output.with_suffix(".svg"))
    crooked = [f"{line['axis']}: {line['name']}, {bend(line['instructions']):.2f}" for line in results if bend(line.get("instructions", FLAT)) > BEND]
    if crooked:
        raise Failed(f"a further unit costs over {BEND} times as much at the far end: {'; '.join(crooked)}")


FLAT = [{"x": x, "cost": 1} for x in range(3)]


def show(result, what):
    points = ", ".join(f"{point['x']}: {point['cost']:,}" for point in result[what])
    print(f"{result['axis']}: {result['name']}, {what}: {points}; bend {bend(result[what]):.2f}", file=sys.stderr, flush=True)


def machine():
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return f"{os.cpu_count()} CPUs, {model}; {platform.system()} {platform.release()} {platform.machine()}"


if __name__ == "__main__":
    main()
