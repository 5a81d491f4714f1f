"""A demo upstream: answers every request and remembers what it received."""

import http.server
import json
import threading


class Request:
    """One request as it arrived: names of headers in lower case, the body without its transfer coding."""

    def __init__(self, method, path, headers, body, answer):
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        #: The status it was answered with.
        self.answer = answer

    def header(self, name):
        """The value of the first header of that name, or None."""
        return next((value for key, value in self.headers if key == name), None)


class Upstream:
    """A server on a port of 127.0.0.1 until `close` is called."""

    def __init__(self, name, port):
        self.name = name
        #: Responses with 503 while this is set.
        self.broken = False
        self._received = []
        self._lock = threading.Lock()
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self._body()
                status = 503 if upstream.broken else 201 if self.command == "POST" else 200
                headers = [(key.lower(), value) for key, value in self.headers.items()]
                with upstream._lock:
                    upstream._received.append(Request(self.command, self.path, headers, body, status))
                answer = json.dumps({"from": upstream.name}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def _body(self):
                if "chunked" not in self.headers.get("transfer-encoding", ""):
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass
                return body

            def log_message(self, *_):
                """The demo prints what it wants to show itself."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def received(self, method=None, path=None):
        """What arrived so far, or only what has this method and path."""
        with self._lock:
            found = list(self._received)
        return [r for r in found if method is None or (r.method, r.path) == (method, path)]

    def close(self):
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
