"""How many instructions an Envoy executes for a request, counted by valgrind's callgrind.

`measure` takes a case and gives its windows. A case says which bootstrap Envoy gets, which request it is sent, and how many copies
arrive for each. Envoy has one worker and gets one request after the other on one connection. Upstreams, which are not counted, answer at once, or when they are told to.
"""

import asyncio
import collections
import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import typing
import urllib.request
from fractions import Fraction

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SHORT = 60  # Seconds that an answer, or an end, may take under valgrind.
START = 600
# Whose instructions they are: what V8 made of the module, with its bridges between module and Envoy; tcmalloc, which is a part of Envoy's
# binary; all else of that binary, with V8's runtime; the libraries of the system.
PARTS = ("module", "malloc", "envoy", "system")


class Failed(Exception):
    """Says to the user why nothing can be counted."""


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    what: str
    # The bootstrap, out of the ports of `primary` and `target_0`, `target_1` and so on.
    bootstrap: typing.Callable[[dict[str, int]], dict]
    request: bytes
    targets: int = 1
    # How many requests each target gets for one of the client's.
    copies: Fraction = Fraction(0)
    # The body of a copy, as JSON; None: it is not looked at.
    copy: typing.Any = None


@dataclasses.dataclass(frozen=True)
class Settings:
    envoy: pathlib.Path
    warm_up: int = 3000  # Requests before the first window.
    requests: int = 1000  # Requests of a window.
    windows: int = 5


@dataclasses.dataclass(frozen=True)
class Count:
    """Instructions of all threads, of the busiest of them, which is the worker, and of each of `PARTS`."""

    all: int
    worker: int
    parts: dict[str, int]

    def per_request(self, requests):
        parts = {part: round(count / requests) for part, count in self.parts.items()}
        return Count(round(self.all / requests), round(self.worker / requests), parts)


class Upstreams:
    """A primary and targets. They count requests and answer each when its body is there, the targets not while `hold` is set."""

    def __init__(self, targets, answer=ANSWER):
        self.answer = answer
        self.names = ["primary"] + [f"target_{number}" for number in range(targets)]
        self.ports, self.counts, self.last = {}, collections.Counter(), {}
        self.hold, self.held = False, []
        ready = threading.Event()

        async def serve():
            self.loop = asyncio.get_running_loop()
            for name in self.names:
                server = await self.loop.create_server(lambda name=name: _Upstream(self, name), "127.0.0.1", 0, backlog=4096)
                self.ports[name] = server.sockets[0].getsockname()[1]
            ready.set()
            await asyncio.Event().wait()

        threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
        if not ready.wait(SHORT):
            raise Failed("the upstreams did not start")

    def release(self):
        """Answers what was held."""
        self.hold = False
        held, self.held = self.held, []
        for transport in held:
            self.loop.call_soon_threadsafe(transport.write, self.answer)

    def wait(self, copies):
        """Until each target has had so many requests in all, and a little longer: Envoy still has to read the answer."""
        targets, end = self.names[1:], time.monotonic() + SHORT
        while any(self.counts[name] < copies for name in targets) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.3)
        if wrong := {name: self.counts[name] for name in targets if self.counts[name] != copies}:
            raise Failed(f"each target should have had {copies} requests, and these had: {wrong}")


class _Upstream(asyncio.Protocol):
    def __init__(self, upstreams, name):
        self.upstreams, self.name, self.buffer = upstreams, name, bytearray()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", self.buffer[:end])
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < size:
                return
            self.upstreams.last[self.name] = bytes(self.buffer[:size])
            del self.buffer[:size]
            self.upstreams.counts[self.name] += 1
            if self.upstreams.hold and self.name != "primary":
                self.upstreams.held.append(self.transport)
            else:
                self.transport.write(self.upstreams.answer)


class Envoy:
    """An Envoy under callgrind, in a directory of its own. It counts nothing before `count_on`, and is five times as fast until then."""

    def __init__(self, envoy, bootstrap, directory):
        self.path, self.directory = os.path.realpath(envoy), pathlib.Path(directory)
        (self.directory / "envoy.json").write_text(json.dumps(bootstrap))
        self.log = open(self.directory / "log", "wb")
        # The prefix of vgdb's pipes, as the callgrind files, is the directory's: two runs at a time do not meet.
        self.pipes = f"--vgdb-prefix={self.directory}/vgdb"
        command = [*self.before(), str(envoy), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
        command += ["-c", str(self.directory / "envoy.json"), "--admin-address-path", str(self.directory / "admin")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.dumps = 0

    def before(self):
        """What stands before the command."""
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", "--dump-line=no"]
        return [*valgrind, f"--callgrind-out-file={self.directory}/counts", self.pipes]

    def connect(self):
        """A connection to its listener, once it serves."""
        return self.connect_all()[0]

    def connect_all(self):
        """A connection to each of its listeners, once it serves."""
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.2)
            try:
                admin = (self.directory / "admin").read_text().strip()
                with urllib.request.urlopen(f"http://{admin}/listeners?format=json", timeout=SHORT) as answer:
                    listeners = json.load(answer)["listener_statuses"]
                ports = [listener["local_address"]["socket_address"]["port_value"] for listener in listeners]
                return [Connection(socket.create_connection(("127.0.0.1", port), timeout=SHORT)) for port in ports]
            except (OSError, ValueError, LookupError):
                continue
        raise Failed("Envoy did not come up under valgrind:\n" + (self.directory / "log").read_text(errors="replace")[-4000:])

    def count_on(self):
        self._tell("instrumentation", "on")
        self.binary = Binary.mapped(self.path, pathlib.Path(f"/proc/{self.process.pid}/maps").read_text())

    def count(self):
        """What was executed since the last time."""
        self.dumps += 1
        self._tell("dump")
        files = self.directory.glob(f"counts.{self.dumps}-*")
        threads = [split(file.read_text(errors="replace"), self.binary) for file in files]
        if not threads:
            raise Failed("callgrind wrote nothing")
        totals = [sum(parts.values()) for parts in threads]
        return Count(sum(totals), max(totals), {part: sum(parts[part] for parts in threads) for part in PARTS})

    def _tell(self, *command):
        vgdb = ["vgdb", self.pipes, f"--pid={self.process.pid}", *command]
        subprocess.run(vgdb, check=True, timeout=2 * SHORT, stdout=self.log, stderr=self.log)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SHORT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Connection:
    """The client's."""

    def __init__(self, socket):
        self.socket = socket

    def send(self, request, count):
        """Sends it so often, each when the one before is answered."""
        for _ in range(count):
            self.socket.sendall(request)
            answer, size = bytearray(), None
            while size is None or len(answer) < size:
                data = self.socket.recv(1 << 20)
                if not data:
                    raise Failed("Envoy closed the connection")
                answer += data
                if size is None and (end := answer.find(b"\r\n\r\n")) >= 0:
                    size = end + 4 + int(re.search(rb"\r\ncontent-length: *(\d+)", answer[:end])[1])
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise Failed(f"Envoy answered {answer[:200]!r}")


@dataclasses.dataclass(frozen=True)
class Binary:
    """A file, and where it lies in memory."""

    path: str
    start: int
    end: int

    @classmethod
    def mapped(cls, path, maps):
        """Out of the text of `/proc/PID/maps`."""
        ranges = [line.split()[0].split("-") for line in maps.splitlines() if line.endswith(f" {path}")]
        if not ranges:
            raise Failed(f"{path} is not mapped")
        return cls(path, int(ranges[0][0], 16), int(ranges[-1][1], 16))


def split(text, binary):
    """The instructions of each of `PARTS`, out of a file that callgrind wrote; `binary` is Envoy.

    Callgrind knows as Envoy's what is in the section `.text`; tcmalloc is the one that has its code in another (`google_malloc`). It has no
    file for what V8 made either, which lies outside of the binary.
    """
    objects, functions = {}, {}

    def name(names, value):
        # `(3) text` gives a number a name, `(3)` means it.
        number, _, text = value.partition(" ")
        if text:
            names[number] = text
        return names.get(number, value)

    parts = dict.fromkeys(PARTS, 0)
    current, total, inclusive = "", None, False
    of, function = "", ""
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if line and line[0] in "0123456789+-*":
            # What a call cost is a part of what is called.
            if not inclusive:
                parts[current] += int(line.split()[1])
            inclusive = False
        elif key == "ob":
            of = name(objects, value)
        elif key == "cob":
            name(objects, value)
        elif key == "cfn":
            name(functions, value)
        elif key == "fn":
            function = name(functions, value)
            current = part(of, function, binary)
        elif key == "calls":
            inclusive = True
        elif line.startswith("totals:"):
            total = int(line.split()[1])
    if total != sum(parts.values()):
        raise Failed(f"callgrind counted {total} instructions, and {sum(parts.values())} of them are somebody's")
    return parts


def part(of, function, binary):
    if of == "???":
        # Code that V8 made has no names. The `'2` of an address stands for a function that called itself.
        address = re.match(r"0x([0-9a-f]+)", function)
        return "module" if address and not binary.start <= int(address[1], 16) < binary.end else "malloc"
    return "envoy" if of == binary.path else "system"


def measure(case, settings):
    """The `Count` per request of each window."""
    upstreams = Upstreams(case.targets)
    with tempfile.TemporaryDirectory(prefix="callgrind-") as directory:
        envoy = Envoy(settings.envoy, case.bootstrap(upstreams.ports), directory)
        try:
            connection = envoy.connect()
            sent, counts = 0, []
            for window in range(settings.windows + 1):
                size = settings.requests if window else settings.warm_up
                sent += size
                connection.send(case.request, size)
                upstreams.wait(sent * case.copies)
                if window:
                    counts.append(envoy.count().per_request(size))
                else:
                    envoy.count_on()
            if case.copy is not None:
                _, _, body = upstreams.last["target_0"].partition(b"\r\n\r\n")
                if json.loads(body) != case.copy:
                    raise Failed(f"{case.name}: the target got {body[:500]!r}")
            return counts
        finally:
            envoy.stop()
