"""A primary and targets for what is measured: they count requests, and answer at once, later, or not at all."""

import asyncio
import collections
import re
import threading
import time

try:
    import uvloop
except ImportError:
    uvloop = asyncio  # Slower, and the same besides.

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SHORT = 60  # Seconds that a start or an answer may take.


class Failed(Exception):
    """Says to the user why nothing can be measured."""


def take_request(buffer):
    """Removes and returns the first whole request in the buffer; None if there is none."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", buffer[:end])
    size = end + 4 + (int(length[1]) if length else 0)
    if len(buffer) < size:
        return None
    request = bytes(buffer[:size])
    del buffer[:size]
    return request


class Upstreams:
    """They run in a thread, and count requests with a whole body, and the bytes of these bodies."""

    def __init__(self, targets=1, answer=ANSWER):
        self.answer = answer
        self.names = ["primary"] + [f"target_{number}" for number in range(targets)]
        self.ports, self.counts, self.bytes, self.last = {}, collections.Counter(), collections.Counter(), {}
        # Seconds from a request to its answer, by name; None: there is none.
        self.delays = dict.fromkeys(self.names, 0)
        # While `hold` is set, targets do not answer. Whose requests these are is held.
        self.hold, self.held = False, []
        ready = threading.Event()

        async def serve():
            loop = asyncio.get_running_loop()
            for name in self.names:
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
        upstreams = self.upstreams
        self.buffer += data
        while request := take_request(self.buffer):
            upstreams.last[self.name] = request
            upstreams.counts[self.name] += 1
            upstreams.bytes[self.name] += len(request.partition(b"\r\n\r\n")[2])
            delay = upstreams.delays[self.name]
            if upstreams.hold and self.name != "primary":
                upstreams.held.append(self.transport)
            elif delay:
                asyncio.get_running_loop().call_later(delay, self.transport.write, upstreams.answer)
            elif delay is not None:
                self.transport.write(upstreams.answer)
