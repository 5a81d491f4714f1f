"""The emergency stop of docs/operations.md works on every bootstrap that is shipped."""

import re
import subprocess
import unittest

import yaml

from manifests import ROOT, WASM, documents, one
from running import Running, ask


def filters(value):
    """The filter's configurations in a bootstrap."""
    if isinstance(value, dict):
        if value.get("@type") == WASM:
            yield value["config"]["configuration"]["value"]
        for member in value.values():
            yield from filters(member)
    elif isinstance(value, list):
        for item in value:
            yield from filters(item)


def without_filters(value):
    """A bootstrap without the filter, whose start takes most of the time; what is asked here is for Envoy to answer."""
    if isinstance(value, dict):
        return {key: without_filters(member) for key, member in value.items()}
    if isinstance(value, list):
        return [without_filters(item) for item in value if not (isinstance(item, dict) and item.get("typed_config", {}).get("@type") == WASM)]
    return value


def shipped():
    """The text of each bootstrap, by name."""
    found = {str(file.relative_to(ROOT)): file.read_text() for file in
             [ROOT / "envoy/envoy.yaml", ROOT / "envoy/compose/gateway.yaml", *sorted((ROOT / "envoy/examples").glob("*/envoy.yaml"))]}
    found["envoy/kubernetes/configmap.yaml"] = one(documents("kubernetes"), "ConfigMap")["data"]["envoy.yaml"]
    for page in sorted((ROOT / "docs").glob("*.md")):
        for number, block in enumerate(re.findall(r"```yaml[^\n]*\n(.*?)```", page.read_text(), re.DOTALL)):
            if re.search(r"(?m)^static_resources:", block) and WASM in block and re.search(r"(?m)^admin:", block):
                found[f"{page.name}, block {number}"] = block
    return found


def stop_commands(admin, cluster):
    """The commands of docs/operations.md that stop a target at once, and those that take it back."""
    page = (ROOT / "docs/operations.md").read_text()
    [block] = [block for block in re.findall(r"```sh[^\n]*\n(.*?)```", page, re.DOTALL) if "runtime_modify" in block]
    assert ".audit." in block and ":9901/" in block, block
    block = block.replace(".audit.", f".{cluster}.").replace(":9901/", f":{admin}/")
    function, stop, take_back = re.fullmatch(r"(thresholds\(\) .*^}\n)(thresholds 0 .*?\n)(thresholds \'\' .*\n)", block, re.DOTALL | re.MULTILINE).groups()
    return function + stop, function + take_back


def run(command):
    """Runs commands of the document."""
    done = subprocess.run(["bash", "-eu", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class EmergencyStop(unittest.TestCase):
    def test_the_commands_of_the_document_stop_a_target_of_each_bootstrap(self):
        texts = shipped()
        self.assertGreaterEqual(len(texts), 7, list(texts))
        for name, text in texts.items():
            with self.subTest(name):
                self.stops(text)

    def stops(self, text):
        whole = yaml.safe_load(text)
        admin = whole["admin"]["address"]["socket_address"]["port_value"]
        [configuration, *_] = filters(whole)
        cluster = configuration["targets"][0]["cluster"]
        envoy = Running(yaml.safe_dump(without_filters(whole), default_flow_style=None, width=1000))
        self.addCleanup(envoy.stop)
        envoy.await_ready(admin)
        before = self.thresholds(envoy, admin, cluster)
        self.assertTrue(all(value > 0 for value in before.values()), before)
        stop, take_back = stop_commands(envoy.ports[admin], cluster)
        run(stop)
        self.assertEqual(self.thresholds(envoy, admin, cluster), dict.fromkeys(before, 0))
        run(take_back)
        self.assertEqual(self.thresholds(envoy, admin, cluster), before)

    def thresholds(self, envoy, admin, cluster):
        page = ask(envoy.ports[admin], "/clusters")[2]
        wanted = ("max_connections", "max_pending_requests", "max_requests")
        return {name: int(re.search(rf"(?m)^{re.escape(cluster)}::default_priority::{name}::(\d+)$", page)[1]) for name in wanted}


if __name__ == "__main__":
    unittest.main()
