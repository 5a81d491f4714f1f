#!/usr/bin/env python3
"""How many instructions Envoy executes for a request, counted by valgrind's callgrind: unlike times, they repeat on a busy machine.

The cases are those of benches/side_by_side. Each has an Envoy of its own, with one worker, which gets one request after the other on one
connection. After a warm-up the counter is read before and after each window of so many requests. The median window is the result. What
the worker executes is held against the baseline; `all` has the other threads, too, which work by the clock.
"""

import argparse
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import signal
import statistics
import sys
from fractions import Fraction

import baseline
from bootstrap import ROOT, bootstrap, filled, native, request, sidecast, typed, wasm
from callgrind import PARTS, Case, Settings
from lockstep import measure
from upstreams import Failed

ORDER = (ROOT / "benches/side_by_side/order.json").read_bytes()
# What is measured if nothing else is said.
USUAL = "none none-0B native native-8 mirrored mirrored-8 unwanted unwanted-0B template redaction batch one-rule rules sampled-out".split()
SIZES = {"-0B": 0, "": 1024, "-64KiB": 65536}
LUA = (ROOT / "benches/side_by_side/mirror.lua").read_text()
TEMPLATE = json.loads((ROOT / "benches/side_by_side/template.json").read_text())
# The floor: modules that do no more than any module that mirrors must, from one to the next.
FLOOR = {
    "idle": "a module that does nothing",
    "path": "a module that reads the path",
    "pairs": "a module that reads all headers",
    "call": "a module that takes headers and body over, calls the target, and reads the status",
}


def templated(order):
    return {
        "order": order["order_id"],
        "placed_at": order["placed_at"],
        "customer": {"id": order["customer"]["id"], "locale": order["locale"]},
        "country": order["shipping"]["address"]["country"],
        "express": order["shipping"]["express"],
        "payment": order["payment"]["method"],
        "first": order["items"][0]["sku"],
        "items": order["items"],
        "total": order["totals"]["gross"],
        "text": "Order of c0ffee: a message",
    }


def redacted(order):
    card = {**order["payment"]["card"], "number": "[redacted]"}
    items = [{**item, "engraving": "[redacted]"} for item in order["items"]]
    return {**order, "payment": {**order["payment"], "card": card}, "items": items}


def lua(targets):
    names = ", ".join(f'"target_{number}"' for number in range(targets))
    return typed("envoy.filters.http.lua", "http.lua.v3.Lua", default_source_code={"inline_string": LUA.replace("TARGETS", names)})


def every_case(module, plain_filter, capabilities):
    """All of them, by name."""
    cases = {}

    def case(name, what, body, filters=(), route=None, **fields):
        cases[name] = Case(name, what, lambda ports: bootstrap(ports, filters, route), request(body), **fields)

    def ours(target=None, targets=1):
        return [sidecast(module, target, targets, capabilities)]

    for size, length in SIZES.items():
        body, of = filled(length), "" if length == 1024 else f", {size[1:]}"
        case(f"none{size}", f"no filter, nothing mirrored{of}", body)
        for targets in (1, 2, 8):
            many, to = ("", "one target") if targets == 1 else (f"-{targets}", f"{targets} targets")
            fields = {"targets": targets, "copies": Fraction(1)}
            case(f"native{size}{many}", f"request_mirror_policies, {to}{of}", body, route=native(targets), **fields)
            case(f"lua{size}{many}", f"a Lua filter, {to}{of}", body, [lua(targets)], **fields)
            case(f"mirrored{size}{many}", f"the filter, {to}{of}", body, ours(targets=targets), **fields)
        case(f"sdk{size}", f"a filter as the SDK's users write it, one target{of}", body, [wasm("plain_filter", plain_filter, "target_0")], copies=Fraction(1))
    for name, what in FLOOR.items():
        filters = [wasm("floor", ROOT / f"target/floor/{name}.wasm", "target_0")]
        case(f"floor-{name}", what, filled(1024), filters, copies=Fraction(name == "call"))
    never = {"match": [{"methods": ["GET", "POST"], "path": {"prefix": "/never"}}]}
    case("unwanted", "the filter, a rule that does not match", filled(1024), ours(never))
    case("unwanted-0B", "the filter, a rule that does not match, 0B", b"", ours(never))
    order = json.loads(ORDER)
    case("template", "ten values of the body make another", ORDER, ours({"request": TEMPLATE}), copies=Fraction(1), copy=templated(order))
    redact = {"request": {"body": {"redact": ["/payment/card/number", "/items/*/engraving"]}}}
    case("redaction", "one value and one of each item masked", ORDER, ours(redact), copies=Fraction(1), copy=redacted(order))
    batch = {"request": {"path": "/batch"}, "batch": {"max_items": 50, "max_delay": "1s", "max_bytes": "1MiB", "format": "json_array"}}
    case("batch", "one call for fifty requests", ORDER, ours(batch), copies=Fraction(1, 50), copy=[order] * 50)
    rules = [{"path": {"prefix": f"/ord{number:03}"}} for number in range(1000)]
    case("one-rule", "one rule, which does not match, 0B", b"", ours({"match": rules[:1]}))
    case("rules", "a thousand rules, none of which matches, 0B", b"", ours({"match": rules}))
    sample = {"sample": {"percent": 0.001, "key": {"header": "x-user-id"}}}
    case("sampled-out", "the filter, matched and not sampled", ORDER, ours(sample))
    return cases


def select(names, cases):
    """The cases that `names` mean, which are names or patterns with commas between."""
    selected = []
    for name in names.split(","):
        found = fnmatch.filter(cases, name.strip())
        if not found:
            raise Failed(f"no case is called {name}; there are: {', '.join(cases)}")
        selected += [case for case in found if case not in selected]
    return selected


def figures(windows):
    """What is kept of a case: each figure's median over the windows."""
    def middle(figure):
        return round(statistics.median(map(figure, windows)))

    parts = {part: middle(lambda count: count.parts[part]) for part in PARTS}
    return {"all": middle(lambda count: count.all), "worker": middle(lambda count: count.worker), "parts": parts}


HEADING = f"{'case':16} {'worker':>9} {'baseline':>8}  {'windows':20} {'all':>9} " + " ".join(f"{part:>8}" for part in PARTS) + "  what"


def row(case, counted, windows, stored):
    of_worker = [window.worker for window in windows]
    more = baseline.change(counted, stored, case.name)
    parts = " ".join(f"{counted['parts'][part]:8,}" for part in PARTS)
    change, spread = "-" if more is None else f"{more:+.1%}", f"{min(of_worker):,}..{max(of_worker):,}"
    return f"{case.name:16} {counted['worker']:9,} {change:>8}  {spread:20} {counted['all']:9,} {parts}  {case.what}"


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # So that its Envoys end, too.
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envoy", type=pathlib.Path, default=ROOT / "target/envoy/1.40.0/envoy")
    parser.add_argument("--wasm", type=pathlib.Path, default=ROOT / "dist/sidecast.wasm")
    parser.add_argument("--plain-filter", type=pathlib.Path, default=ROOT / "target/plain_filter.wasm")
    parser.add_argument("--capabilities", type=pathlib.Path, default=ROOT / "envoy/capabilities.json", help="host calls that Envoy allows the module")
    parser.add_argument("--cases", default=",".join(USUAL), help="cases, separated by commas; `*` stands for anything")
    parser.add_argument("--warm-up", type=int, default=Settings.warm_up, help="requests before the first window")
    parser.add_argument("--requests", type=int, default=Settings.requests, help="requests per window")
    parser.add_argument("--windows", type=int, default=Settings.windows)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="cases at a time")
    parser.add_argument("--baseline", type=pathlib.Path, default=ROOT / "benches/instructions.json")
    parser.add_argument("--update", action="store_true", help="store the counts as the baseline")
    parser.add_argument("--check", action="store_true", help="fail if a case takes more than its baseline allows")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "target/instructions.json")
    options = parser.parse_args()
    try:
        run(options)
    except Failed as problem:
        sys.exit(f"error: {problem}")


def run(options):
    for missing in [path for path in (options.envoy, options.wasm, options.capabilities) if not path.is_file()]:
        raise Failed(f"{missing} is missing")
    cases = every_case(options.wasm.absolute(), options.plain_filter.absolute(), options.capabilities)
    selected = select(options.cases, cases)
    if unbuilt := [name for name in selected if name.startswith("floor-") and not (ROOT / f"target/floor/{name[6:]}.wasm").is_file()]:
        raise Failed(f"the modules for {', '.join(unbuilt)} are missing; run make floor")
    settings = Settings(options.envoy.absolute(), options.warm_up, options.requests, options.windows)
    told = {"warm_up": options.warm_up, "requests": options.requests, "windows": options.windows}
    environment, stored = baseline.environment(settings.envoy), baseline.load(options.baseline)
    # First, so that nobody waits in vain.
    differs = baseline.elsewhere(stored, environment, told) if options.check else ""

    def count(names):
        counts = {}
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for name, windows in zip(names, pool.map(lambda name: measure(cases[name], settings), names)):
                counts[name] = figures(windows)
                print(row(cases[name], counts[name], windows, stored), flush=True)
        return counts

    print(HEADING, flush=True)
    measured = count(selected)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"environment": environment, "settings": told, "cases": measured}, indent=2) + "\n")
    if options.update:
        baseline.store(options.baseline, environment, told, measured)
        print(f"stored in {options.baseline}")
    if options.check:
        judge(measured, stored, count, differs)


def judge(measured, stored, count, differs):
    if differs:
        print(f"note: this is not the machine of the baseline: {differs}")
    over, scale = baseline.check(measured, stored, count, differs)
    if scale != 1:
        print(f"note: a request without a filter takes {scale:.4f} times its baseline here, so the baselines are scaled by that")
    if over:
        changes = ", ".join(f"{case} {baseline.change(measured[case], stored, case, scale):+.1%}" for case in over)
        raise Failed(
            f"more instructions per request than the baseline plus {baseline.MOST:.0%}, counted twice: {changes}.\n"
            f"If they are worth it, store them: make bench-instructions UPDATE=1 CASES=none,{','.join(over)}"
        )
    print(f"No case takes {baseline.MOST:.0%} more instructions than its baseline.")


if __name__ == "__main__":
    main()
