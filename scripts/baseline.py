"""Counts of instructions held against those that are stored in the repository: the worker's, as other threads work by the clock."""

import json
import os
import pathlib
import platform
import re
import subprocess

from upstreams import Failed

MOST = 0.01  # How much more than its baseline a case may take.
NOISE = 0.004  # By how much a request without a filter differs between runs on one machine, at most.


def environment(envoy):
    """What the counts depend on besides code and settings.

    Valgrind shows a program one of a few processors, whatever the real one is; which depends on AVX2 and AVX.
    """
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    flags = set(re.search(r"^flags\s*:(.*)", cpuinfo, re.M)[1].split())
    version = subprocess.run([envoy, "--version"], check=True, capture_output=True, text=True).stdout
    return {
        # PATH  version: COMMIT/VERSION/Clean/RELEASE/BoringSSL
        "envoy": version.split("version: ")[-1].split("/")[1],
        "valgrind": subprocess.run(["valgrind", "--version"], check=True, capture_output=True, text=True).stdout.strip(),
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
        "processor": next((flag for flag in ("avx2", "avx") if flag in flags), "neither avx nor avx2"),
        "architecture": platform.machine(),
    }


def load(path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {"environment": {}, "settings": {}, "cases": {}}


def store(path, environment, settings, measured):
    """Adds what was measured. Counts of another environment or other settings are no baseline beside it, and go."""
    known = load(path)
    same = known["environment"] == environment and known["settings"] == settings
    cases = {**(known["cases"] if same else {}), **measured}
    text = {"environment": environment, "settings": settings, "cases": dict(sorted(cases.items()))}
    path.write_text(json.dumps(text, indent=2) + "\n")


def change(count, baseline, case, scale=1):
    """By which part of its baseline, times `scale`, the case takes more; None without a baseline."""
    stored = baseline["cases"].get(case)
    return count["worker"] / (stored["worker"] * scale) - 1 if stored else None


def elsewhere(baseline, environment, settings):
    """How the environment differs from that of the baseline, as text; empty if it does not. Fails if nothing can be compared."""
    if not baseline["cases"]:
        raise Failed("there is no baseline; UPDATE=1 stores one")
    if baseline["settings"] != settings:
        raise Failed(f"the baseline was counted with {baseline['settings']}, but this run uses {settings}")
    differing = {name: value for name, value in environment.items() if baseline["environment"].get(name) != value}
    if "envoy" in differing or "architecture" in differing:
        raise Failed(f"the baseline was counted on {baseline['environment']}, but this is {environment}")
    return ", ".join(f"{name} is {value} and was {baseline['environment'].get(name)}" for name, value in differing.items())


def check(measured, baseline, count, differs):
    """The cases that take more than they may, and by what the baseline was multiplied for it.

    What is over is counted once more by `count`, and the smaller figure stands. If so, or if the machine `differs`, a request without a
    filter is counted, too: no module can change that, so where it is not as in the baseline, the machine counts otherwise, and all is held against as much more or less.
    """
    if lacking := [case for case in (*measured, "none") if case not in baseline["cases"]]:
        raise Failed(f"the baseline lacks {', '.join(lacking)}; UPDATE=1 stores new counts")

    def slower():
        return [case for case, figures in measured.items() if change(figures, baseline, case, scale) > MOST]

    scale = 1
    over = slower()
    if over or differs:
        again = count(list(dict.fromkeys(["none", *over])))
        for case in over:
            measured[case] = min(measured[case], again[case], key=lambda figures: figures["worker"])
        without = 1 + change(again["none"], baseline, "none")
        if differs or abs(without - 1) > NOISE:
            scale = without
    return slower(), scale
