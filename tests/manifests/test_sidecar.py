"""The plain sidecar's bootstrap in a running Envoy: its pages, and what happens when its pod is told to go."""

import http.client
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import unittest

from manifests import ENVOY, MODULE, documents, one


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


class Sidecar(unittest.TestCase):
    def setUp(self):
        found = documents("kubernetes")
        self.envoy = one(found, "Deployment")["spec"]["template"]["spec"]["initContainers"][0]
        text = one(found, "ConfigMap")["data"]["envoy.yaml"].replace("/var/lib/sidecast/plugin.wasm", MODULE)
        self.ports = dict(zip((8080, 8081, 9901, 9902), free_ports(4)))
        # Nobody is to be asked where the audit service is.
        text = text.replace("type: STRICT_DNS", "type: STATIC").replace("{address: audit.audit.svc.cluster.local", "{address: 127.0.0.1")
        for shipped, free in self.ports.items():
            text = text.replace(f"port_value: {shipped}", f"port_value: {free}")
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        file = pathlib.Path(self.directory.name, "envoy.yaml")
        file.write_text(text)
        arguments = [str(file) if word == "/etc/envoy/envoy.yaml" else word for word in self.envoy["args"]]
        with open(pathlib.Path(self.directory.name, "log"), "wb") as log:
            environment = {**os.environ, "AUDIT_TOKEN": "any"}
            self.process = subprocess.Popen([ENVOY, "--disable-hot-restart", *arguments], stdout=log, stderr=log, env=environment)
        self.addCleanup(self.end)
        self.await_ready()

    def end(self):
        self.process.kill()
        self.process.wait()

    def await_ready(self):
        """As the startup probe does it, which has a minute."""
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.page("/ready")[0] == 200:
                    return
            except OSError:
                pass
            self.assertIsNone(self.process.poll(), pathlib.Path(self.directory.name, "log").read_text())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def page(self, path, method="GET"):
        return ask(self.ports[9902], path, method)

    def test_it_shows_two_pages_of_the_admin_interface_and_no_other(self):
        self.assertEqual(self.page("/ready")[0], 200)
        status, _, page = self.page("/stats/prometheus")
        self.assertEqual(status, 200)
        self.assertIn('sidecast_dropped{target="audit",reason="queue_full"} 0', page)
        for path, method in (("/quitquitquit", "POST"), ("/config_dump", "GET"), ("/ready/../config_dump", "GET"), ("/ready", "POST"),
                             ("/stats", "GET"), ("/", "GET"), ("/stats/prometheus/..", "GET")):
            self.assertEqual(self.page(path, method)[0], 404, path)

    def test_before_it_ends_clients_are_told_to_go_while_it_still_answers(self):
        self.assertNotIn("connection", ask(self.ports[8080], "/")[1])
        command = [re.sub(r"\bsleep \d+", "", word).replace("/9901", f"/{self.ports[9901]}")
                   for word in self.envoy["lifecycle"]["preStop"]["exec"]["command"]]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        self.assertTrue(said.startswith("HTTP/1.1 200 OK"), said)
        # There is no application here, so it is Envoy that responds.
        status, headers, _ = ask(self.ports[8080], "/")
        self.assertEqual((status, headers.get("connection")), (503, "close"))


if __name__ == "__main__":
    unittest.main()
