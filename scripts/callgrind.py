"""How many instructions an Envoy executes for a request, counted by valgrind's callgrind.

A case says which bootstrap Envoy gets, which request it is sent, and how many copies arrive for each; lockstep.py counts it.
"""

import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import time
import typing
import urllib.request
from fractions import Fraction

from live import Process
from upstreams import Failed

SHORT = 180  # Seconds that anything but the start may take under valgrind.
START = 600
SLOW_CLOCK = pathlib.Path(__file__).with_name("slow-clock.c")
EPOLL_WAIT = {"232", "281", "441"}  # Of x86_64, with `epoll_pwait` and `epoll_pwait2`.
# Whose instructions they are: what V8 made of the module, with its bridges between module and Envoy; tcmalloc, which is a part of Envoy's
# binary; all else of that binary, with V8's runtime; the libraries of the system.
PARTS = ("module", "malloc", "envoy", "system")


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


class Envoy(Process):
    """An Envoy under callgrind, in a directory of its own. It counts nothing before `count_on`, and is five times as fast until then."""

    slow = True  # Whether its worker's clock is about as slow as itself.

    def __init__(self, envoy, bootstrap, directory):
        self.path, self.directory = os.path.realpath(envoy), pathlib.Path(directory)
        (self.directory / "envoy.json").write_text(json.dumps(bootstrap))
        # The prefix of vgdb's pipes, as the callgrind files, is the directory's: two runs at a time do not meet.
        self.pipes = f"--vgdb-prefix={self.directory}/vgdb"
        command = [*self.before(), self.path, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"]
        command += ["-c", str(self.directory / "envoy.json"), "--admin-address-path", str(self.directory / "admin")]
        super().__init__(command, self.directory)
        self.dumps = 0

    def before(self):
        """What stands before the command."""
        # As scripts/slow-clock.c says.
        valgrind = ["env", f"LD_PRELOAD={slow_clock(self.directory)}"] if self.slow else []
        valgrind += ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes", "--dump-line=no"]
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
                self.worker = self._worker()
                return [Connection(socket.create_connection(("127.0.0.1", port), timeout=SHORT)) for port in ports]
            except (OSError, ValueError, LookupError):
                continue
        raise Failed("Envoy did not come up under valgrind:\n" + self.read_log()[-4000:])

    def _worker(self):
        """The directory of its only worker."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return [task for task in tasks if (task / "comm").read_text().startswith("wrk:")][0]

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
        raise Failed(f"callgrind counted {total} instructions, but attributed {sum(parts.values())}")
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
