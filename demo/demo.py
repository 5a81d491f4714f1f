"""`make run`: a real Envoy with envoy/envoy.yaml, three demo upstreams, and a few orders sent through it.

Prints what the client got and what each side received, and ends with a line that says what is wrong when that is not what
envoy/envoy.yaml promises; so `make run ONCE=1` is a test as well. docs/images/run.svg shows it: `make recording` records it anew.
"""

import argparse
import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

from upstream import Upstream

ROOT = pathlib.Path(__file__).resolve().parent.parent
INGRESS, ADMIN = 10000, 9901
UPSTREAMS = {"primary": 8081, "audit": 8082, "analytics": 8083}
TARGETS = ["audit", "analytics"]
DEADLINE_SECONDS = 20
CREDENTIALS = ["authorization", "cookie"]


class Unexpected(Exception):
    """What the demo saw is not what it should see."""


class Order:
    """A request of the demo's client, the targets that should receive a copy of it, and those that answer it with 503."""

    def __init__(self, about, method, path, headers=None, chunks=(), copies=(), broken=()):
        self.about = about
        self.method = method
        self.path = path
        self.headers = headers or {}
        self.chunks = chunks
        self.copies = copies
        self.broken = broken

    def send(self):
        """Sends it through Envoy; the status and body that the client got."""
        headers, body, chunked = dict(self.headers), None, len(self.chunks) > 1
        if chunked:
            headers["transfer-encoding"] = "chunked"
            body = iter(self.chunks)
        elif self.chunks:
            body = self.chunks[0]
        client = http.client.HTTPConnection("127.0.0.1", INGRESS, timeout=DEADLINE_SECONDS)
        try:
            client.request(self.method, self.path, body=body, headers=headers, encode_chunked=chunked)
            answer = client.getresponse()
            return answer.status, answer.read()
        finally:
            client.close()


JSON = {"content-type": "application/json"}
ORDERS = [
    Order("an order, with the user's credentials", "POST", "/orders",
          {**JSON, "authorization": "Bearer of-the-user", "cookie": "session=of-the-user", "x-user-id": "42"},
          [b'{"item": "book", "count": 1}'], copies=["audit", "analytics"]),
    Order("a change, sent in chunks", "PUT", "/orders/1", JSON, [b'{"item": ', b'"book", ', b'"count": 2}'], copies=["audit", "analytics"]),
    Order("no JSON, so analytics does not want it", "DELETE", "/orders/1", copies=["audit"]),
    Order("matches no target", "GET", "/health"),
    Order("analytics fails; the client does not notice", "POST", "/orders/2", JSON, [b'{"item": "pen"}'],
          copies=["audit", "analytics"], broken=["analytics"]),
]


def until(what, probe):
    """Polls until `probe` gives something true, and returns it; the demo has failed if that takes too long."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not (found := probe()):
        if time.monotonic() > end:
            raise Unexpected(f"{what()} (waited {DEADLINE_SECONDS} s)")
        time.sleep(0.02)
    return found


def expect(condition, message):
    """The demo has failed unless `condition`."""
    if not condition:
        raise Unexpected(message)


def admin(path):
    """The status and text of a page of Envoy's admin interface; status 0 while nobody answers."""
    client = http.client.HTTPConnection("127.0.0.1", ADMIN, timeout=DEADLINE_SECONDS)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return answer.status, answer.read().decode()
    except OSError:
        return 0, ""
    finally:
        client.close()


def check_ports():
    """Envoy would share a port with another Envoy without a word, so this looks first."""
    for name, port in {"Envoy": INGRESS, "Envoy's admin interface": ADMIN, **UPSTREAMS}.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Unexpected(f"cannot use port {port} of 127.0.0.1 for {name}: {error.strerror}") from None


class Envoy:
    """Envoy as a child process; its log and the access log go to files."""

    def __init__(self, binary, config):
        self.log_path = ROOT / "target/run/envoy.log"
        self.access_path = ROOT / "target/run/access.log"
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "wb") as log, open(self.access_path, "wb") as access:
            command = [binary, "-c", config, "--disable-hot-restart", "--concurrency", "2", "--log-level", "info"]
            # Its own session: Ctrl-C comes to this script alone, which then ends Envoy.
            self._child = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=access, stderr=log, start_new_session=True)

    def wait_until_ready(self):
        """Returns once the listener accepts connections."""
        def ready():
            self.check_alive()
            return admin("/ready")[0] == 200
        until(lambda: f"Envoy is not ready, see {self.log_path}", ready)

    def check_alive(self):
        """The demo has failed if Envoy ended by itself."""
        if self._child.poll() is not None:
            lines = self.log_path.read_text(errors="replace").splitlines()
            errors = [line for line in lines if re.search(r"\[(error|critical)\]", line)][-10:]
            raise Unexpected("\n".join([f"Envoy ended with status {self._child.returncode}", *errors]))

    def close(self):
        """Asks it to end, and makes sure."""
        self._child.terminate()
        try:
            self._child.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def painted(code, text):
    """The text in a colour, on a terminal."""
    return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


GOOD, BAD, BOLD, QUIET = "32", "31", "1", "90"


def show(who, status, *more):
    """One side of the story: who, with which status, and what there is to say."""
    print(f"  {who:<10} {painted(GOOD if status < 500 else BAD, status)}  {'  '.join(more)}".rstrip())


def show_request(who, request):
    """What one upstream received, and how it responded."""
    show(who, request.answer, *([request.body.decode()] if request.body else []))


def show_headers(request):
    """What a copy has besides its body."""
    for name in ["x-request-id", "idempotency-key"]:
        print(f"             {painted(QUIET, f'{name}: {request.header(name)}')}")
    missing = ", ".join(name for name in CREDENTIALS if not request.header(name))
    print(f"             {painted(QUIET, f'without {missing}')}")


def run(order, upstreams):
    """Sends one order, and shows and checks what became of it."""
    sent = b"".join(order.chunks)
    for name in order.broken:
        upstreams[name].broken = True
    status, answer = order.send()
    print(f"\n{painted(BOLD, f'{order.method} {order.path}')}  {order.about}")
    show("client", status)
    expect(status == (201 if order.method == "POST" else 200) and answer == b'{"from": "primary"}', "the client did not get the primary's response")

    def arrived(name, is_first):
        found = until(lambda: f"{name} did not receive {order.method} {order.path}", lambda: upstreams[name].received(order.method, order.path))
        show_request(name, found[0])
        if is_first:
            show_headers(found[0])
        expect(found[0].body == sent, f"{name} received another body than the client sent")
        return found[0]

    primary = arrived("primary", False)
    for name, value in order.headers.items():
        expect(primary.header(name) == value, f"the primary received another {name} than the client sent")
    expect(not any(key.startswith("x-sidecast-") for key, _ in primary.headers), "the primary received a header of Sidecast")
    for name in TARGETS:
        if name not in order.copies:
            print(f"  {name:<10} {painted(QUIET, '-')}")
            continue
        # All copies have these headers; one is enough to look at.
        copy = arrived(name, order is ORDERS[0] and name == TARGETS[0])
        expect(copy.header("x-sidecast-target") == name, f"{name} received no x-sidecast-target")
        expect(copy.header("x-request-id") == primary.header("x-request-id"), f"{name} and the primary received different x-request-id")
        expect(not any(copy.header(secret) for secret in CREDENTIALS), f"{name} received the user's credentials")
        upstreams[name].broken = False


def check_statistics():
    """Waits until each copy is accounted for, and shows Envoy's figures as Prometheus would fetch them."""
    wanted = set()
    for name in TARGETS:
        matched = sum(name in order.copies for order in ORDERS)
        failed = sum(name in order.broken for order in ORDERS)
        wanted |= {
            f'sidecast_matched{{target="{name}"}} {matched}',
            f'sidecast_delivered{{target="{name}"}} {matched - failed}',
            f'sidecast_dropped{{target="{name}",reason="retries_exhausted"}} {failed}',
        }
    lines = []

    def counted():
        lines[:] = [line for line in admin("/stats/prometheus")[1].splitlines() if line.startswith("sidecast_")]
        return wanted <= set(lines)
    until(lambda: f"the statistics lack {sorted(wanted - set(lines))}", counted)
    dropped = sum(int(line.split()[-1]) for line in lines if line.startswith("sidecast_dropped{"))
    expect(dropped == sum(len(order.broken) for order in ORDERS), "more copies were dropped than expected")
    print(f"\n{painted(BOLD, f'http://127.0.0.1:{ADMIN}/stats/prometheus')}")
    for line in lines:
        if re.match(r"sidecast_(matched|delivered|dropped)\{", line) and not line.endswith(" 0"):
            print(f"  {painted(BAD, line) if line.startswith('sidecast_dropped') else line}")


def main():
    """Runs the demo; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envoy", required=True, help="path of the Envoy binary")
    parser.add_argument("--config", default="envoy/envoy.yaml", help="bootstrap to start it with")
    parser.add_argument("--once", action="store_true", help="exit after the orders instead of staying up")
    options = parser.parse_args()

    # Both end the children first, also where a shell had SIGINT ignored.
    for polite in (signal.SIGINT, signal.SIGTERM):
        signal.signal(polite, signal.default_int_handler)
    children = []
    try:
        check_ports()
        upstreams = {name: Upstream(name, port) for name, port in UPSTREAMS.items()}
        children += upstreams.values()
        envoy = Envoy(options.envoy, options.config)
        children.append(envoy)
        envoy.wait_until_ready()
        print(f"Envoy listens on http://127.0.0.1:{INGRESS}; log: {envoy.log_path.relative_to(ROOT)}")
        for order in ORDERS:
            run(order, upstreams)
        check_statistics()
        print("\nThe primary received every order unchanged. The outcome of each copy is counted.")
        if not options.once:
            print(f"Try it: curl -i http://127.0.0.1:{INGRESS}/orders -H 'content-type: application/json' -d '{{}}'\nPress Ctrl-C to stop.", flush=True)
            watch(envoy, upstreams)
        return 0
    except (Unexpected, OSError, http.client.HTTPException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0 if not options.once else 130
    finally:
        for child in reversed(children):
            child.close()


def watch(envoy, upstreams):
    """Shows what arrives from now on, until Ctrl-C."""
    seen = {name: len(upstream.received()) for name, upstream in upstreams.items()}
    while True:
        envoy.check_alive()
        for name, upstream in upstreams.items():
            for request in upstream.received()[seen[name]:]:
                seen[name] += 1
                print(f"\n{painted(BOLD, f'{request.method} {request.path}')}")
                show_request(name, request)
                sys.stdout.flush()
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
