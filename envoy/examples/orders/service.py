"""One stand-in for a service: answers every request with one status, and prints what it received.

    python3 service.py NAME PORT [STATUS [SECONDS]]

Stop it (Ctrl-C, kill) and start it again with another status, or to respond some seconds later. The services `orders` and `payment`
answer in JSON, with the id of the order or the charge. They look at `idempotency-key`: what comes again has the same id.
"""

import http.server
import json
import sys
import time


def main(name, port, status="201", seconds="0"):
    """Serves until it is stopped."""
    known = {}

    def made(kind, key):
        """An id: the next one, or that of the request with this key."""
        return known.setdefault((kind, key or len(known)), f"{kind}-{len(known) + 1}")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            lines = [f"{name}: {self.command} {self.path} -> {status}"]
            lines += [f"  {key.lower()}: {value}" for key, value in self.headers.items()]
            lines += [f"  {line}" for line in body.decode(errors="replace").splitlines()]
            print("\n".join(lines), flush=True)
            time.sleep(float(seconds))
            key, path = self.headers.get("idempotency-key"), self.path.partition("?")[0]
            response = b""
            if status.startswith("2") and (name, path) == ("orders", "/orders"):
                response = json.dumps({"id": made("ord", key)}).encode()
            elif status.startswith("2") and (name, path) == ("payment", "/charges"):
                response = json.dumps({"charge_id": made("ch", key)}).encode()
            self.send_response(int(status))
            if response:
                self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_):
            """Requests are printed in full already."""

    http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
