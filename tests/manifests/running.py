"""A shipped bootstrap in a running Envoy, with free ports in place of its own."""

import http.client
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time

from manifests import ENVOY, MODULE, ROOT

# What the shipped bootstraps read from the environment.
VARIABLES = {"AUDIT_TOKEN": "any", "NOTIFICATION_TOKEN": "any", "RABBITMQ_BASIC": "any",
             "PARTNER_SECRET": "whsec_YW55IHNlY3JldCBvZiB0aGUgcGFydG5lcg=="}


def free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def ask(port, path, method="GET"):
    """Status, headers and body of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


class Running:
    """Envoy with the text of a bootstrap, until it is stopped; `ports` leads from the ports of the text to those that are in use."""

    def __init__(self, text, arguments=("--config-path", "FILE")):
        shipped = sorted({int(port) for port in re.findall(r"port_value: (\d+)", text)})
        self.ports = dict(zip(shipped, free_ports(len(shipped))))
        self.directory = tempfile.TemporaryDirectory()
        self.log = pathlib.Path(self.directory.name, "log")
        file = pathlib.Path(self.directory.name, "envoy.yaml")
        file.write_text(self.local(text))
        arguments = [str(file) if word == "FILE" else word for word in arguments]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([ENVOY, "--disable-hot-restart", *arguments], stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **VARIABLES})

    def local(self, text):
        """Everything is on this machine: ports, the module, and where clusters are, so that nobody is asked for a name."""
        text = re.sub(r"/var/lib/sidecast/[a-z]+\.wasm|dist/sidecast\.wasm", MODULE, text)
        text = re.sub(r"type: (STRICT|LOGICAL)_DNS", "type: STATIC", text)
        text = re.sub(r"(?m)^ *(dns_lookup_family|dns_refresh_rate): .*\n", "", text)
        text = re.sub(r"address: (?:\"[^\"]*\"|[a-z0.][a-z0-9.-]*)(?=, port_value)", "address: 127.0.0.1", text)
        return re.sub(r"port_value: (\d+)", lambda found: f"port_value: {self.ports[int(found[1])]}", text)

    def await_ready(self, port, path="/ready"):
        """As a startup probe does it, which has a minute."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if ask(self.ports[port], path)[0] == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.log.read_text())
            time.sleep(0.02)

    def stop(self):
        """Ends it and removes its files."""
        self.process.kill()
        self.process.wait()
        self.directory.cleanup()
