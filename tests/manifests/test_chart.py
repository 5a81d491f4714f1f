"""The Helm chart: what it makes of each values file is valid and does what it should, and wrong values are refused with their place."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import yaml

from manifests import ROOT, TOOL, WASM, checked, named_clusters, one, printed, problems, refusal, run, tool_says, unlabelled
from running import Running, ask

VALUES = sorted((ROOT / "envoy/helm/sidecast/ci").glob("*.yaml"))


class Chart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.chart = pathlib.Path(directory.name, "sidecast")
        cls.stage(cls.chart)
        cls.texts = {file.stem: cls.text(file) for file in VALUES}
        cls.rendered = {name: cls.documents(text) for name, text in cls.texts.items()}

    @staticmethod
    def stage(directory):
        subprocess.run([sys.executable, "-B", ROOT / "scripts/stage-chart.py", TOOL, directory], check=True, timeout=60)

    @classmethod
    def text(cls, file, *arguments, release="mirror"):
        return printed("helm", "template", release, cls.chart, "--namespace", "shop", "-f", file, *arguments)

    @staticmethod
    def documents(text):
        # The rules and the dashboard are long; the loader in C is ten times as fast.
        return [document for document in yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if document]

    @classmethod
    def render(cls, file, *arguments, **options):
        return cls.documents(cls.text(file, *arguments, **options))

    def refused(self, values, *arguments):
        """What helm says of values that are wrong."""
        done = run("helm", "template", "mirror", self.chart, "-f", ROOT / f"envoy/helm/sidecast/ci/{values}.yaml", *arguments)
        self.assertNotEqual(done.returncode, 0, arguments)
        return done.stderr

    def test_helm_finds_nothing_wrong_with_it(self):
        arguments = [word for file in VALUES[:1] for word in ("-f", file)]
        printed("helm", "lint", "--strict", self.chart, *arguments)

    def test_every_document_is_valid_and_has_the_standard_labels(self):
        self.assertEqual(len(self.rendered), 5)
        for name, found in self.rendered.items():
            self.assertEqual([problem for document in found for problem in problems(document)], [], name)
            self.assertEqual(unlabelled(found), [], name)
            self.assertEqual({document["metadata"]["labels"]["helm.sh/chart"] for document in found}, {"sidecast-0.1.0"})
            self.assertEqual({document["metadata"]["namespace"] for document in found}, {"shop"})
            self.assertEqual(len({(document["kind"], document["metadata"]["name"]) for document in found}), len(found))

    def test_the_tool_has_nothing_against_any_of_them(self):
        with tempfile.TemporaryDirectory() as directory:
            files = [pathlib.Path(directory, f"{name}.yaml") for name in self.texts]
            for file, text in zip(files, self.texts.values()):
                file.write_text(text)
            self.assertEqual(tool_says(*files), "")

    def test_the_configuration_arrives_as_it_was_written(self):
        for file in VALUES:
            values, found = yaml.safe_load(file.read_text()), self.rendered[file.stem]
            arrived = {"istio": lambda: one(found, "WasmPlugin")["spec"]["pluginConfig"],
                       "envoy-gateway": lambda: one(found, "EnvoyExtensionPolicy")["spec"]["wasm"][0]["config"],
                       "envoy": lambda: json.loads(self.filter(found)["configuration"]["value"])}[values["platform"]]()
            self.assertEqual(arrived, values["configuration"])
            self.assertEqual(checked(arrived), "")

    def filter(self, found):
        """The filter of the bootstrap."""
        whole = yaml.safe_load(one(found, "ConfigMap", "mirror-sidecast")["data"]["envoy.yaml"])
        manager = whole["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        [config] = [entry["typed_config"]["config"] for entry in manager["http_filters"] if entry["typed_config"]["@type"] == WASM]
        return config

    def test_envoy_takes_the_clusters_for_envoy_gateway(self):
        found = self.rendered["envoy-gateway"]
        [wasm] = one(found, "EnvoyExtensionPolicy")["spec"]["wasm"]
        patches = one(found, "EnvoyPatchPolicy")["spec"]["jsonPatches"]
        clusters = [patch["operation"]["value"] for patch in patches]
        self.assertEqual({cluster["name"] for cluster in clusters}, set(named_clusters(wasm["config"])))
        self.assertEqual(refusal({"static_resources": {"clusters": clusters}}), "")
        self.assertIs(wasm["failOpen"], True)

    def test_its_own_gateway_starts_and_lets_requests_through(self):
        # The admin interface stands in for the primary.
        found = self.render(ROOT / "envoy/helm/sidecast/ci/envoy.yaml", "--set", "envoy.primary.port=9901")
        container = one(found, "Deployment")["spec"]["template"]["spec"]["containers"][0]
        arguments = ["FILE" if word == "/etc/envoy/envoy.yaml" else word for word in container["args"]]
        envoy = Running(one(found, "ConfigMap", "mirror-sidecast")["data"]["envoy.yaml"], arguments)
        self.addCleanup(envoy.stop)
        envoy.await_ready(9902)
        self.assertEqual(ask(envoy.ports[8080], "/ready")[::2], (200, "LIVE\n"))
        self.assertIn('sidecast_matched{target="audit"} 0', ask(envoy.ports[9902], "/stats/prometheus")[2])
        self.assertEqual(ask(envoy.ports[9901], "/runtime_modify?circuit_breakers.audit.default.max_requests=0", "POST")[0], 200)

    def test_pods_services_and_monitors_find_each_other(self):
        found = self.rendered["envoy"]
        pods = one(found, "Deployment")["spec"]["template"]["metadata"]["labels"]
        pages = one(found, "Service", "mirror-sidecast-pages")
        selectors = [one(found, "Deployment")["spec"]["selector"]["matchLabels"], one(found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
                     one(found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"], pages["spec"]["selector"],
                     one(found, "Service", "mirror-sidecast")["spec"]["selector"]]
        for selector in selectors:
            self.assertLessEqual(selector.items(), pods.items())
        monitor = one(found, "ServiceMonitor")["spec"]
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), pages["metadata"]["labels"].items())
        # And not the Service of the clients, which does not have that port.
        clients = one(found, "Service", "mirror-sidecast")["metadata"]["labels"]
        self.assertFalse(monitor["selector"]["matchLabels"].items() <= clients.items())
        self.assertEqual(one(self.rendered["istio-everything"], "PodMonitor")["spec"]["selector"]["matchLabels"], {"app": "orders"})

    def test_the_notes_name_what_the_pods_need_and_every_cluster(self):
        for values, words in (("istio-everything", ["--env AUDIT_TOKEN=sidecast/audit-token >", "'^outbound|8080||audit.audit.svc.cluster.local::'"]),
                              ("envoy-gateway", ["AUDIT_TOKEN", "envoypatchpolicy/mirror-sidecast-clusters"]), ("envoy", ["mirror-sidecast.shop:80"])):
            file = ROOT / f"envoy/helm/sidecast/ci/{values}.yaml"
            notes = printed("helm", "install", "mirror", self.chart, "--namespace", "shop", "-f", file, "--dry-run=client").split("NOTES:")[1]
            for word in words:
                self.assertIn(word, notes)
            self.assertNotIn("SIDECAST_ORIGIN", notes)

    def test_rules_and_dashboard_are_those_of_the_repository(self):
        found = self.rendered["envoy"]
        groups = [group for file in sorted((ROOT / "envoy/prometheus").glob("*.rules.yml")) for group in yaml.safe_load(file.read_text())["groups"]]
        self.assertEqual(one(found, "PrometheusRule")["spec"]["groups"], groups)
        dashboard = one(found, "ConfigMap", "mirror-sidecast-dashboard")
        self.assertEqual(json.loads(dashboard["data"]["sidecast.json"]), json.loads((ROOT / "envoy/grafana/sidecast.json").read_text()))
        self.assertEqual(dashboard["metadata"]["labels"]["grafana_dashboard"], "1")

    def test_wrong_values_are_refused_with_their_place(self):
        for values, setting, place in (
            ("istio", "module.tag=", "module.tag: the image has neither a tag"), ("istio", "module.image=", "module.image: no image"),
            ("istio", "platform=mesh", "'/platform': value must be one of"), ("istio", "modul.tag=a", "'modul' not allowed"),
            ("istio", "configuration.targets[0].retries=3", "'/configuration/targets/0': additional properties 'retries'"),
            ("istio", "configuration=null", "missing property 'configuration'"), ("istio", "configuration.targets=null", "'/configuration/targets'"),
            ("istio", "selector.matchLabels=null", "'/selector/matchLabels'"), ("waypoint", "targetRefs=[]", "selector.matchLabels: no labels"), ("istio", "selector=null", "missing property 'selector'"),
            ("istio", "configuration.targets[0].request.headers.set.authorization=${env:TOKEN}", "configuration reads ${env:TOKEN}"),
            ("istio", "networkPolicy.enabled=true", "networkPolicy.podsAreIsolatedAlready"), ("istio", "module.sha256=abc", "'/module/sha256'"),
            ("istio", "monitoring.serviceMonitor.enabled=true", "monitoring.serviceMonitor: for platform envoy only"),
            ("istio", "environment[0].name=A", "'/environment/0'"), ("istio", "clusters[0].name=a,clusters[0].host=b,clusters[0].port=1", "clusters: Istio has"),
            ("envoy-gateway", "configuration.targets[0].cluster=adit", "configuration.targets[0].cluster: clusters has no \"adit\""),
            ("envoy-gateway", "envoyGateway.gateway=", "envoyGateway.gateway: the targetRef is no Gateway"),
            ("envoy-gateway", "targetRefs=null", "missing property 'targetRefs'"),
            ("envoy", "envoy.primary.host=", "envoy.primary.host: none"), ("envoy", "envoy.primary.timeout=15", "'/envoy/primary/timeout'"),
            ("envoy", "module.url=https://files.example/a.wasm", "module: image and url are both set"),
            ("envoy", "monitoring.podMonitor.enabled=true", "would count everything twice"),
        ):
            said = self.refused(values, "--set-json" if setting.endswith("]") else "--set", setting)
            self.assertIn(place, said, setting)
            self.assertLess(len(said), 1200, said)

    def test_only_what_the_filter_reads_as_a_variable_must_be_one(self):
        file = ROOT / "envoy/helm/sidecast/ci/istio.yaml"
        for setting in ("configuration.targets[0].request.headers.set.x-a=$${env:A}", "configuration.targets[0].match[0].path.prefix=/${env:A}"):
            self.assertIn("env:A", json.dumps(self.render(file, "--set-string", setting)))

    def test_odd_names_stay_text(self):
        file = ROOT / "envoy/helm/sidecast/ci/istio-everything.yaml"
        found = self.render(file, "--set-string", "environment[0].name=NO,environment[0].valueFrom.secretKeyRef.name=1,environment[0].valueFrom.secretKeyRef.key=2",
                            "--set-string", "environment[1].name=AUDIT_TOKEN,environment[1].value=yes,environment[2].name=SIDECAST_ORIGIN,environment[2].value=off",
                            "--set", "labels.app\\.kubernetes\\.io/name=theirs", release="0123")
        self.assertEqual([problem for document in found for problem in problems(document)], [])
        self.assertEqual([variable["name"] for variable in one(found, "WasmPlugin")["spec"]["vmConfig"]["env"]], ["NO", "AUDIT_TOKEN", "SIDECAST_ORIGIN"])
        self.assertEqual({document["metadata"]["labels"]["app.kubernetes.io/name"] for document in found}, {"sidecast"})
        names = {document["metadata"]["name"] for document in self.render(file, release="a" * 53)}
        self.assertLessEqual(max(map(len, names)), 63)

    def test_the_same_chart_is_the_same_bytes(self):
        packed = []
        for name in ("a", "b"):
            self.stage(self.chart.parent / name / "sidecast")
            printed("helm", "package", self.chart.parent / name / "sidecast", "--destination", self.chart.parent / name)
            packed += [(self.chart.parent / name / "sidecast-0.1.0.tgz").read_bytes()]
        self.assertTrue(packed[0] == packed[1])


if __name__ == "__main__":
    unittest.main()
