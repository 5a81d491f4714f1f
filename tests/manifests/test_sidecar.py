"""The plain sidecar's bootstrap in a running Envoy: its pages, the emergency stop, and what happens when its pod is told to go."""

import re
import subprocess
import time
import unittest

from manifests import documents, one
from running import Running, ask
from test_stop import run, stop_commands


def start():
    """The container's Envoy, ready, with its arguments."""
    found = documents("kubernetes")
    container = one(found, "Deployment")["spec"]["template"]["spec"]["initContainers"][0]
    text = one(found, "ConfigMap")["data"]["envoy.yaml"]
    arguments = ["FILE" if word == "/etc/envoy/envoy.yaml" else word for word in container["args"]]
    envoy = Running(text, arguments)
    try:
        return container, envoy.await_ready(9902)
    except BaseException:
        envoy.stop()
        raise


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        _, cls.envoy = start()
        cls.addClassCleanup(cls.envoy.stop)

    def ask(self, port, path, method="GET"):
        return ask(self.envoy.ports[port], path, method)

    def test_it_shows_two_pages_of_the_admin_interface_and_no_other(self):
        self.assertEqual(self.ask(9902, "/ready")[0], 200)
        status, _, page = self.ask(9902, "/stats/prometheus")
        self.assertEqual(status, 200)
        self.assertIn('sidecast_dropped{target="audit",reason="queue_full"} 0', page)
        for path, method in (("/quitquitquit", "POST"), ("/config_dump", "GET"), ("/ready/../config_dump", "GET"), ("/ready", "POST"),
                             ("/runtime_modify", "POST"), ("/stats", "GET"), ("/", "GET"), ("/stats/prometheus/..", "GET")):
            self.assertEqual(self.ask(9902, path, method)[0], 404, path)

    def test_after_the_emergency_stop_no_call_leaves_and_each_copy_is_counted(self):
        stop, _ = stop_commands(self.envoy.ports[9901], "audit")
        run(stop)
        # There is no application here, so it is Envoy that responds, and it does.
        self.assertEqual(self.ask(8080, "/orders", "POST")[0], 503)
        deadline = time.monotonic() + 30
        while not (counted := self.counted())["matched"] or not sum(counted.values()) - counted["matched"]:
            self.assertLess(time.monotonic(), deadline, counted)
            time.sleep(0.05)
        page = self.ask(9901, "/stats?filter=cluster.audit.upstream_cx_total")[2]
        self.assertIn("cluster.audit.upstream_cx_total: 0", page)

    def counted(self):
        """How many copies were wanted, and how many of them dropped, by reason."""
        page = self.ask(9901, "/stats?filter=wasmcustom.sidecast.audit")[2]
        found = {name: int(value) for name, value in re.findall(r"wasmcustom\.sidecast\.audit\.(matched|dropped\.[a-z_]+): (\d+)", page)}
        return {"matched": 0, **found}


class End(unittest.TestCase):
    def test_before_it_ends_clients_are_told_to_go_while_it_still_answers(self):
        container, envoy = start()
        self.addCleanup(envoy.stop)
        self.assertNotIn("connection", ask(envoy.ports[8080], "/")[1])
        command = [re.sub(r"\bsleep \d+", "", word).replace("/9901", f"/{envoy.ports[9901]}")
                   for word in container["lifecycle"]["preStop"]["exec"]["command"]]
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        self.assertTrue(said.startswith("HTTP/1.1 200 OK"), said)
        # There is no application here, so it is Envoy that responds.
        status, headers, _ = ask(envoy.ports[8080], "/")
        self.assertEqual((status, headers.get("connection")), (503, "close"))


if __name__ == "__main__":
    unittest.main()
