"""Processes at full speed and upstreams for them, for what is measured in memory or time (callgrind.py is for what is counted)."""

import asyncio
import collections
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

try:
    import uvloop
except ImportError:
    uvloop = asyncio  # Slower, and the same besides.

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SHORT = 60  # Seconds that a start, an answer or an end may take.


class Failed(Exception):
    """Says to the user why nothing can be measured."""


class Upstreams:
    """A primary and a target, in a thread. They count requests with a whole body, and the bytes of these bodies."""

    def __init__(self):
        self.ports, self.counts, self.bytes = {}, collections.Counter(), collections.Counter()
        # Seconds from a request to its answer, by name; None: there is none.
        self.delays = {"primary": 0, "target_0": 0}
        ready = threading.Event()

        async def serve():
            loop = asyncio.get_running_loop()
            for name in self.delays:
                server = await loop.create_server(lambda name=name: _Upstream(self, name), "127.0.0.1", 0, backlog=4096)
                self.ports[name] = server.sockets[0].getsockname()[1]
            ready.set()
            await asyncio.Event().wait()

        threading.Thread(target=lambda: uvloop.run(serve()), daemon=True).start()
        if not ready.wait(SHORT):
            raise Failed("the upstreams did not start")

    def quiet(self, seconds=0.3):
        """Waits until nothing has come for so long."""
        end, seen, since = time.monotonic() + SHORT, None, 0
        while time.monotonic() < end:
            if seen != (seen := dict(self.counts)):
                since = time.monotonic()
            elif time.monotonic() - since >= seconds:
                return
            time.sleep(0.005)
        raise Failed(f"requests were still arriving after {SHORT} s")


class _Upstream(asyncio.Protocol):
    def __init__(self, upstreams, name):
        self.upstreams, self.name, self.buffer = upstreams, name, bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.buffer[:end])
            length = int(length[1]) if length else 0
            if len(self.buffer) < end + 4 + length:
                return
            del self.buffer[: end + 4 + length]
            self.upstreams.counts[self.name] += 1
            self.upstreams.bytes[self.name] += length
            delay = self.upstreams.delays[self.name]
            if delay:
                asyncio.get_running_loop().call_later(delay, self.transport.write, ANSWER)
            elif delay is not None:
                self.transport.write(ANSWER)


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
