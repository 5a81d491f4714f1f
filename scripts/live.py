"""The processes that are measured."""

import collections
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request

from upstreams import SHORT, Failed


class Process:
    """A program with a log, in a directory of its own."""

    def __init__(self, command, directory, cpu=None, **environment):
        self.directory = directory
        self.log = open(directory / "log", "wb")
        pin = ["taskset", "--cpu-list", str(cpu)] if cpu is not None else []
        environment = {**os.environ, **environment}
        self.process = subprocess.Popen(
            pin + [str(part) for part in command], cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def until(self, ready):
        """What `ready` gives, once it gives something."""
        end = time.monotonic() + SHORT
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if found := ready():
                    return found
            except (OSError, ValueError, LookupError):
                pass
            time.sleep(0.05)
        raise Failed(f"{self.process.args[0]} did not come up:\n{self.read_log()[-4000:]}")

    def read_log(self):
        return (self.directory / "log").read_text(errors="replace")

    def family(self):
        """Its process and those that it started."""
        found = [self.process.pid]
        for parent in found:
            for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found

    def cpu_ns(self):
        """How long all its threads have been on a CPU. They live as long as it does."""
        tasks = [task for pid in self.family() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def memory(self):
        """Sums of what the kernel says of all pages, in KiB: by name of /proc/PID/smaps_rollup."""
        sums = collections.Counter()
        for pid in self.family():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
                name, value, *_ = line.split()
                sums[name.rstrip(":")] += int(value)
        return sums

    def stop(self, sign=signal.SIGTERM):
        self.process.send_signal(sign)
        try:
            self.process.wait(SHORT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Envoy(Process):
    def __init__(self, envoy, bootstrap, directory, workers=1, cpu=None):
        (directory / "envoy.json").write_text(json.dumps(bootstrap))
        command = [envoy, "--concurrency", workers, "--disable-hot-restart", "--log-level", "warn"]
        command += ["-c", directory / "envoy.json", "--admin-address-path", directory / "admin"]
        super().__init__(command, directory, cpu)
        try:
            address = self.until(lambda: self.ask("/listeners?format=json")["listener_statuses"][0]["local_address"]["socket_address"])
        except BaseException:
            self.stop()
            raise
        self.port = address["port_value"]

    def ask(self, path):
        admin = (self.directory / "admin").read_text().strip()
        with urllib.request.urlopen(f"http://{admin}{path}", timeout=SHORT) as answer:
            return json.load(answer)

    def statistic(self, name):
        """The sum of all counters whose name has this in it."""
        return sum(one["value"] for one in self.ask(f"/stats?format=json&filter={name}")["stats"] if "value" in one)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ending(signal_number=signal.SIGTERM):
    """Has SIGTERM end this process as an exception does, so that what it started ends, too."""
    signal.signal(signal_number, lambda *_: sys.exit(1))
