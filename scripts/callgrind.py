"""How many instructions an Envoy executes for a request, counted by valgrind's callgrind.

`measure` takes a case and gives its windows. A case says which bootstrap Envoy gets, which request it is sent, and how many copies
arrive for each. Envoy has one worker and gets one request after the other on one connection. Targets answer before the primary does. Neither they nor the client are counted.
"""

import collections
import dataclasses
import json
import os
import pathlib
import re
import selectors
import signal
import socket
import subprocess
import tempfile
import time
import typing
import urllib.request
from fractions import Fraction

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SHORT = 180  # Seconds that anything but the start may take under valgrind.
START = 600
PIECE = 16384  # Bytes of a request that are sent at once.
SLOW_CLOCK = pathlib.Path(__file__).with_name("slow-clock.c")
EPOLL_WAIT = {"232", "281", "441"}  # Of x86_64, with `epoll_pwait` and `epoll_pwait2`.
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
    requests: int = 400  # Requests of a window.
    windows: int = 3
    in_flight: int = 0  # How many copies each target leaves without an answer while others come.


@dataclasses.dataclass(frozen=True)
class Count:
    """Instructions of all threads, of the busiest of them, which is the worker, and of this the share of each of `PARTS`."""

    all: int
    worker: int
    parts: dict[str, int]

    def per_request(self, requests):
        parts = {part: round(count / requests) for part, count in self.parts.items()}
        return Count(round(self.all / requests), round(self.worker / requests), parts)


def slow_clock(directory):
    """What is preloaded into Envoy."""
    library = directory / SLOW_CLOCK.with_suffix(".so").name
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, SLOW_CLOCK], check=True)
    return library


class Upstreams:
    """A primary and targets, all in the caller's thread. They take requests while `serve` runs, and answer when they are told to."""

    def __init__(self, targets):
        self.targets = [f"target_{number}" for number in range(targets)]
        self.ports, self.counts, self.last, self.waiting = {}, collections.Counter(), {}, collections.defaultdict(collections.deque)
        self.sockets = selectors.DefaultSelector()
        for name in ["primary", *self.targets]:
            listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
            self.ports[name] = listener.getsockname()[1]
            self.sockets.register(listener, selectors.EVENT_READ, lambda listener=listener, name=name: self._accept(listener, name))

    def serve(self, seconds):
        """Takes what comes; at most so long if nothing does."""
        for key, _ in self.sockets.select(seconds):
            key.data()

    def answer(self, name, but=0):
        """Each request that waits at this upstream, but for the last ones."""
        while len(self.waiting[name]) > but:
            self.waiting[name].popleft().sendall(ANSWER)

    def _accept(self, listener, name):
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray()
        self.sockets.register(connection, selectors.EVENT_READ, lambda: self._take(connection, name, buffer))

    def _take(self, connection, name, buffer):
        data = connection.recv(1 << 20)
        if not data:
            self.sockets.unregister(connection)
            connection.close()
        buffer += data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", buffer[:end])
            size = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < size:
                return
            self.last[name] = bytes(buffer[:size])
            del buffer[:size]
            self.counts[name] += 1
            self.waiting[name].append(connection)

    def close(self):
        for key in list(self.sockets.get_map().values()):
            key.fileobj.close()
        self.sockets.close()


class Envoy:
    """An Envoy under callgrind, in a directory of its own. It counts nothing before `count_on`, and is five times as fast until then."""

    def __init__(self, envoy, bootstrap, directory):
        self.path, self.directory = os.path.realpath(envoy), pathlib.Path(directory)
        (self.directory / "envoy.json").write_text(json.dumps(bootstrap))
        self.log = open(self.directory / "log", "wb")
        # The prefix of vgdb's pipes, as the callgrind files, is the directory's: two runs at a time do not meet.
        self.pipes = f"--vgdb-prefix={self.directory}/vgdb"
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", "--dump-line=no"]
        valgrind += [f"--callgrind-out-file={self.directory}/counts", self.pipes]
        command = [str(envoy), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
        command += ["-c", str(self.directory / "envoy.json"), "--admin-address-path", str(self.directory / "admin")]
        # As scripts/slow-clock.c says.
        environment = {**os.environ, "LD_PRELOAD": str(slow_clock(self.directory))}
        self.process = subprocess.Popen(valgrind + command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.dumps = 0

    def connect(self):
        """A connection to its listener, once it serves."""
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            time.sleep(0.2)
            try:
                admin = (self.directory / "admin").read_text().strip()
                with urllib.request.urlopen(f"http://{admin}/listeners?format=json", timeout=SHORT) as answer:
                    listeners = json.load(answer)["listener_statuses"]
                port = listeners[0]["local_address"]["socket_address"]["port_value"]
                client = socket.create_connection(("127.0.0.1", port), timeout=SHORT)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.worker = self._worker()
                return client
            except (OSError, ValueError, LookupError):
                continue
        raise Failed("Envoy did not come up under valgrind:\n" + (self.directory / "log").read_text(errors="replace")[-4000:])

    def _worker(self):
        """The directory of its only worker."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return next(task for task in tasks if (task / "comm").read_text().startswith("wrk:"))

    def idle(self):
        """Whether its worker sleeps in `epoll_wait`: elsewhere it may sleep while it waits for valgrind."""
        return (self.worker / "syscall").read_text().split()[0] in EPOLL_WAIT

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
        busiest = totals.index(max(totals))
        return Count(sum(totals), totals[busiest], threads[busiest])

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


class Run:
    """A case under way. Each thing that happens to Envoy happens alone, when its worker has nothing left to do: so what the worker finds at once,
    whether a connection is free, and who answers first, is the same on a machine that is busy or slow."""

    def __init__(self, case, settings, directory):
        self.case, self.settings, self.sent = case, settings, 0
        self.upstreams = Upstreams(case.targets)
        self.envoy = Envoy(settings.envoy, case.bootstrap(self.upstreams.ports), directory)

    def start(self):
        self.client = self.envoy.connect()

    def send(self, count):
        """So many requests, each when all that the one before led to is over."""
        for _ in range(count):
            self._send()

    def _send(self):
        upstreams, request = self.upstreams, self.case.request
        for start in range(0, len(request), PIECE):
            self.client.sendall(request[start:start + PIECE])
            self._settle()
        self.sent += 1
        copies = self.sent * self.case.copies // 1
        expected = {"primary": self.sent, **dict.fromkeys(upstreams.targets, copies)}
        self._until(lambda: all(upstreams.counts[name] >= count for name, count in expected.items()), lambda: f"{self._got()} of {expected} arrived")
        self._settle()
        for name in upstreams.targets:
            upstreams.answer(name, but=self.settings.in_flight)
        self._settle()
        upstreams.answer("primary")
        answer = b""
        while not answer.endswith(b"\r\n\r\nok"):
            data = self.client.recv(65536)
            if not data:
                raise Failed("Envoy closed the connection")
            answer += data
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise Failed(f"Envoy answered {answer[:200]!r}")
        self._settle()
        if any(upstreams.counts[name] != count for name, count in expected.items()):
            raise Failed(f"{self._got()} arrived, and not {expected}")

    def _settle(self):
        """Until the worker waits for something to happen, seen twice in a row."""
        seen = 0

        def idle():
            nonlocal seen
            seen = seen + 1 if self.envoy.idle() else 0
            return seen == 2

        self._until(idle, lambda: "Envoy's worker did not come to rest")

    def _until(self, condition, problem):
        end = time.monotonic() + SHORT
        while not condition():
            if time.monotonic() > end:
                raise Failed(problem())
            self.upstreams.serve(0.0002)

    def _got(self):
        return dict(self.upstreams.counts)

    def stop(self):
        self.envoy.stop()
        self.upstreams.close()


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

    parts = dict.fromkeys((*PARTS, None), 0)
    current, total, inclusive = "", None, False
    of = ""
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
            current = part(of, name(functions, value), binary)
        elif key == "calls":
            inclusive = True
        elif line.startswith("totals:"):
            total = int(line.split()[1])
    if total != sum(parts.values()):
        raise Failed(f"callgrind counted {total} instructions, and {sum(parts.values())} of them are somebody's")
    del parts[None]
    return parts


def part(of, function, binary):
    if of == "???":
        # Code that V8 made has no names. The `'2` of an address stands for a function that called itself.
        address = re.match(r"0x([0-9a-f]+)", function)
        return "module" if address and not binary.start <= int(address[1], 16) < binary.end else "malloc"
    if pathlib.Path(of).name == SLOW_CLOCK.with_suffix(".so").name:
        return None  # Not there without callgrind.
    return "envoy" if of == binary.path else "system"


def measure(case, settings):
    """The `Count` per request of each window."""
    with tempfile.TemporaryDirectory(prefix="callgrind-") as directory:
        run = Run(case, settings, directory)
        try:
            run.start()
            run.send(settings.warm_up)
            run.envoy.count_on()
            # What callgrind finds under way when it begins is no request's.
            run.send(100)
            run.envoy.count()
            counts = []
            for _ in range(settings.windows):
                run.send(settings.requests)
                counts.append(run.envoy.count().per_request(settings.requests))
            if case.copy is not None:
                _, _, body = run.upstreams.last["target_0"].partition(b"\r\n\r\n")
                if json.loads(body) != case.copy:
                    raise Failed(f"{case.name}: the target got {body[:500]!r}")
            return counts
        finally:
            run.stop()
