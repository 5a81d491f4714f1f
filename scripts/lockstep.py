"""Counts the instructions of a case, one event of Envoy after the other.

`measure` takes a case and gives its windows. Envoy has one worker and gets one request after the other on one connection; targets answer before the
primary does. Upstreams and client are in this one thread, and nothing happens before the worker has nothing left to do.
"""

import collections
import json
import selectors
import socket
import tempfile
import time

from callgrind import SHORT, Envoy
from upstreams import ANSWER, Failed, take_request

PIECE = 16384  # Bytes of a request that are sent at once.


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

    def answer(self, name):
        """Each request that waits at this upstream."""
        while self.waiting[name]:
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
        while request := take_request(buffer):
            self.last[name] = request
            self.counts[name] += 1
            self.waiting[name].append(connection)

    def close(self):
        for key in list(self.sockets.get_map().values()):
            key.fileobj.close()
        self.sockets.close()


class Run:
    """A case under way. Each thing that happens to Envoy happens alone, when its worker has nothing left to do: so what the worker finds at once,
    whether a connection is free, and who answers first, is the same on a machine that is busy or slow."""

    def __init__(self, case, settings, directory):
        self.case, self.settings, self.sent = case, settings, 0
        self.upstreams = Upstreams(case.targets)
        self.envoy = Envoy(settings.envoy, case.bootstrap(self.upstreams.ports), directory)

    def start(self):
        self.client = self.envoy.connect().socket
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

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
            upstreams.answer(name)
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
