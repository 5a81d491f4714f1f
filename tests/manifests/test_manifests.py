"""What the manifests promise: they are valid, fit together, and hold configurations that the filter and Envoy take."""

import re
import subprocess
import unittest

import yaml

from manifests import (MODULE, ROOT, bootstrap, checked, documents, named_clusters, one, patched, problems, refusal, rendered, text_configuration,
                       tool_says, unlabelled, vm, wasm_filter)


def static_cluster(name):
    return {"name": name, "load_assignment": {"cluster_name": name}}


def pod(found):
    return one(found, "Deployment", "orders")["spec"]["template"]


def secret_keys(containers):
    for container in containers:
        for variable in container.get("env", []):
            yield variable["name"], variable["valueFrom"]["secretKeyRef"]


class EnvoyGateway(unittest.TestCase):
    def setUp(self):
        self.found = documents("envoy-gateway")
        [self.wasm] = one(self.found, "EnvoyExtensionPolicy")["spec"]["wasm"]
        self.patches = one(self.found, "EnvoyPatchPolicy")["spec"]["jsonPatches"]
        self.proxy = one(self.found, "EnvoyProxy")["spec"]

    def test_every_object_has_the_standard_labels(self):
        self.assertEqual(unlabelled(self.found), [])
        self.assertEqual(tool_says(ROOT / "envoy/envoy-gateway/policy.yaml"), "")

    def test_the_proxy_brings_the_layer_that_the_emergency_stop_needs(self):
        layers = yaml.safe_load(self.proxy["bootstrap"]["value"])["layered_runtime"]["layers"]
        self.assertIn({"name": "admin", "admin_layer": {}}, layers)

    def test_the_configuration_is_right_and_names_clusters_that_are_added(self):
        self.assertEqual(checked(self.wasm["config"]), "")
        added = {patch["name"] for patch in self.patches}
        self.assertLessEqual(set(named_clusters(self.wasm["config"])), added)
        for patch in self.patches:
            self.assertEqual((patch["name"], patch["operation"]["op"]), (patch["operation"]["value"]["name"], "add"))

    def test_envoy_and_the_filter_take_what_comes_of_it(self):
        config = {"vm_config": vm(self.wasm["env"]["hostKeys"]), "configuration": text_configuration(self.wasm["config"]),
                  "fail_open": self.wasm["failOpen"]}
        clusters = [patch["operation"]["value"] for patch in self.patches]
        self.assertEqual(refusal(bootstrap(wasm_filter(config), clusters), self.proxy["bootstrap"]["value"]), "")
        self.assertIs(self.wasm["failOpen"], True)

    def test_policies_attach_to_what_is_there(self):
        for policy in ("EnvoyExtensionPolicy", "EnvoyPatchPolicy"):
            spec = one(self.found, policy)["spec"]
            for target in spec.get("targetRefs", [spec.get("targetRef")]):
                one(self.found, target["kind"], target["name"])
        parameters = one(self.found, "Gateway")["spec"]["infrastructure"]["parametersRef"]
        one(self.found, parameters["kind"], parameters["name"])
        container = self.proxy["provider"]["kubernetes"]["envoyDeployment"]["container"]
        self.assertLessEqual(set(self.wasm["env"]["hostKeys"]), {name for name, _ in secret_keys([container])})


class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.found = documents("kubernetes")
        self.pod = pod(self.found)["spec"]
        [self.envoy] = self.pod["initContainers"]
        self.bootstrap = yaml.safe_load(one(self.found, "ConfigMap")["data"]["envoy.yaml"])
        ingress = self.bootstrap["static_resources"]["listeners"][0]
        manager = ingress["filter_chains"][0]["filters"][0]["typed_config"]
        self.config = manager["http_filters"][0]["typed_config"]["config"]

    def test_every_document_is_valid_and_has_the_standard_labels(self):
        self.assertEqual([problem for document in self.found for problem in problems(document)], [])
        self.assertEqual(unlabelled([*self.found, pod(self.found) | {"kind": "Pod", "metadata": {"name": "pod", **pod(self.found)["metadata"]}}]), [])
        self.assertEqual(tool_says(ROOT / "envoy/kubernetes/configmap.yaml"), "")

    def test_envoy_and_the_filter_take_the_bootstrap(self):
        self.assertEqual(checked(self.config["configuration"]["value"]), "")
        clusters = {cluster["name"] for cluster in self.bootstrap["static_resources"]["clusters"]}
        self.assertLessEqual(set(named_clusters(self.config["configuration"]["value"])), clusters)
        self.assertIs(self.config["fail_open"], True)
        self.config["vm_config"]["code"]["local"]["filename"] = MODULE
        self.assertEqual(refusal(self.bootstrap), "")

    def test_what_is_mounted_is_where_envoy_looks_for_it(self):
        volumes = {volume["name"]: volume for volume in self.pod["volumes"]}
        mounts = {mount["name"]: mount["mountPath"] for mount in self.envoy["volumeMounts"]}
        self.assertEqual(volumes.keys(), mounts.keys())
        self.assertEqual(volumes["bootstrap"]["configMap"]["name"], one(self.found, "ConfigMap")["metadata"]["name"])
        self.assertIn(mounts["bootstrap"] + "/envoy.yaml", self.envoy["args"])
        self.assertEqual(self.config["vm_config"]["code"]["local"]["filename"], mounts["sidecast"] + "/plugin.wasm")
        variables = dict(secret_keys([self.envoy]))
        self.assertLessEqual(set(self.config["vm_config"]["environment_variables"]["host_env_keys"]), variables.keys())
        for reference in variables.values():
            self.assertIn(reference["key"], one(self.found, "Secret", reference["name"])["stringData"])

    def test_a_pod_has_time_to_drain(self):
        arguments = self.envoy["args"]
        drain = int(arguments[arguments.index("--drain-time-s") + 1])
        command = self.envoy["lifecycle"]["preStop"]["exec"]["command"][-1]
        self.assertEqual(int(command.split("sleep ")[1]), drain)
        [app] = self.pod["containers"]
        self.assertGreaterEqual(app["lifecycle"]["preStop"]["sleep"]["seconds"], drain)
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], drain)

    def test_ports_and_labels_fit_together(self):
        ports = {port["name"]: port["containerPort"] for port in self.envoy["ports"]}
        listeners = {listener["name"]: listener["address"]["socket_address"]["port_value"]
                     for listener in self.bootstrap["static_resources"]["listeners"]}
        self.assertEqual((ports["http"], ports["pages"]), (listeners["ingress"], listeners["pages"]))
        labels = pod(self.found)["metadata"]["labels"]
        services = [document for document in self.found if document["kind"] == "Service"]
        for service in services:
            self.assertIn(service["spec"]["ports"][0]["targetPort"], ports)
        selectors = [service["spec"]["selector"] for service in services] + [
            one(self.found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], one(self.found, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
            one(self.found, "PodMonitor")["spec"]["selector"]["matchLabels"], one(self.found, "Deployment")["spec"]["selector"]["matchLabels"]]
        for selector in selectors:
            self.assertTrue(selector)
            self.assertLessEqual(selector.items(), labels.items())
        rule = one(self.found, "NetworkPolicy")["spec"]["ingress"]
        self.assertEqual([entry["ports"][0]["port"] for entry in rule], [ports["http"], ports["pages"]])

    def test_prometheus_finds_the_pages_by_either_monitor_and_labels_are_those_of_the_alerts(self):
        [by_pod] = one(self.found, "PodMonitor")["spec"]["podMetricsEndpoints"]
        by_service = one(self.found, "ServiceMonitor")["spec"]
        self.assertEqual(by_service["endpoints"], [by_pod])
        self.assertIn(by_pod["port"], {port["name"] for port in self.envoy["ports"]})
        found = [document["metadata"]["name"] for document in self.found
                 if document["kind"] == "Service" and by_service["selector"]["matchLabels"].items() <= document["metadata"]["labels"].items()]
        self.assertEqual(found, ["orders-pages"])
        made = {label["targetLabel"]: label.get("replacement") for label in by_pod["relabelings"]}
        self.assertEqual(made, {"job": "envoy", "workload": "$1$2", "sidecast": "expected"})
        self.assertIn('up{sidecast="expected"}', (ROOT / "envoy/prometheus/alerts.rules.yml").read_text())
        # The workload as Istio's monitor makes it.
        [shipped] = one(documents("prometheus"), "PodMonitor")["spec"]["podMetricsEndpoints"]
        of_workload = [[label for label in monitor["relabelings"] if label["targetLabel"] == "workload"] for monitor in (by_pod, {"relabelings": [
            label for label in shipped["relabelings"] if "targetLabel" in label]})]
        self.assertEqual(of_workload[0], of_workload[1])

    def test_the_printed_rules_are_those_of_the_repository(self):
        printed = subprocess.run(["sh", ROOT / "envoy/kubernetes/prometheus-rule.sh", "elsewhere"], capture_output=True, text=True, check=True, cwd="/").stdout
        rule = yaml.safe_load(printed)
        groups = [group for file in sorted((ROOT / "envoy/prometheus").glob("*.rules.yml")) for group in yaml.safe_load(file.read_text())["groups"]]
        self.assertEqual((rule["spec"]["groups"], rule["metadata"]["namespace"]), (groups, "elsewhere"))
        self.assertEqual((problems(rule), unlabelled([rule])), ([], []))

    def test_the_patch_of_the_readme_changes_the_annotation_and_nothing_else(self):
        [patch] = re.findall(r"kubectl patch deployment orders -n shop -p '(.*)'", (ROOT / "envoy/kubernetes/README.md").read_text())
        before = one(self.found, "Deployment")
        after = patched(before, "strategic", patch)
        self.assertEqual(after["spec"]["template"]["metadata"]["annotations"].pop("sidecast/bootstrap"), "2")
        before["spec"]["template"]["metadata"]["annotations"].pop("sidecast/bootstrap")
        self.assertEqual(after, before)


class Rendered(unittest.TestCase):
    """What "sidecast render --as" writes, with placeholders and without."""

    given = ("--namespace", "shop", "--selector", "app=orders", "--selector", "example.com/tier=web", "--listener-port", "8080")
    image = ("--image", "oci://registry.example/sidecast:1.0.0", "--sha256", "0" * 64)

    def test_every_document_is_valid(self):
        for form, arguments in (("wasmplugin", self.given + self.image), ("envoyfilter", self.given), ("wasmplugin", ()), ("envoyfilter", ())):
            self.assertEqual([problem for document in rendered(form, *arguments) for problem in problems(document)], [], form)

    def test_policies_have_the_fields_of_those_that_are_shipped(self):
        shipped = documents("envoy-gateway")
        for document in rendered("envoy-gateway", "--gateway", "public", *self.image):
            like = one(shipped, document["kind"])
            self.assertEqual((document["apiVersion"], document["spec"].keys()), (like["apiVersion"], like["spec"].keys()))
            if document["kind"] == "EnvoyExtensionPolicy":
                self.assertEqual(document["spec"]["wasm"][0].keys(), like["spec"]["wasm"][0].keys())
            else:
                clusters = [patch["operation"]["value"] for patch in document["spec"]["jsonPatches"]]
                self.assertEqual(clusters[0].keys(), like["spec"]["jsonPatches"][0]["operation"]["value"].keys())

    def test_envoy_takes_the_bootstrap_and_the_filter_of_the_envoyfilter(self):
        [whole] = rendered("envoy", "--skip=routes", "--module", MODULE, "--primary", "shop.internal:8080")
        self.assertEqual(refusal(whole), "")
        [document] = rendered("envoyfilter", "--module", MODULE)
        clusters = [static_cluster(name) for name in ("audit", "search")]
        self.assertEqual(refusal(bootstrap(document["spec"]["configPatches"][0]["patch"]["value"], clusters)), "")


class Broken(unittest.TestCase):
    """A mistake in a manifest is found; otherwise the tests above would say nothing."""

    def refused(self, folder, kind, old, new, *words):
        def change(text):
            return text.replace(old, new)
        found = documents(folder, change)
        self.assertNotEqual(found, documents(folder), f"{old!r} is not in {folder}")
        said = [problem for document in found if document["kind"] == kind for problem in problems(document)]
        for word in words:
            self.assertIn(word, " ".join(said))

    def test_an_unknown_field_is_refused(self):
        self.refused("istio", "WasmPlugin", "failStrategy:", "failStrategie:", "spec.failStrategie: unknown field")
        self.refused("istio", "ServiceEntry", "resolution:", "resolutions:", "resolutions: unknown field")
        self.refused("kubernetes", "Deployment", "startupProbe", "startProbe", "startProbe")
        self.refused("kubernetes", "PodMonitor", "podMetricsEndpoints", "podMetricEndpoints", "podMetric")
        self.refused("kubernetes", "ServiceMonitor", "interval:", "intervall:", "intervall: unknown field")
        self.refused("kubernetes", "NetworkPolicy", "policyTypes", "policyType", "policyType")
        self.refused("kubernetes", "PodDisruptionBudget", "maxUnavailable", "maxUnavailible", "maxUnavailible")

    def test_a_wrong_value_is_refused(self):
        self.refused("istio", "WasmPlugin", "FAIL_OPEN", "OPEN", "failStrategy")
        self.refused("istio", "DestinationRule", "mode: SIMPLE", "mode: PLAIN", "PLAIN")
        self.refused("istio", "EnvoyFilter", "SIDECAR_INBOUND", "INBOUND", "SIDECAR_INBOUND")
        self.refused("kubernetes", "Deployment", "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 40s", "40s")
        self.refused("istio", "ProxyConfig", "SIDECAST_ORIGIN: shop", "SIDECAST_ORIGIN: [shop]", "SIDECAST_ORIGIN")
        self.refused("kubernetes", "Deployment", "replicas: 2", "replicas: two", "two")

    def test_a_wrong_configuration_is_refused_by_the_filter_and_by_the_tool(self):
        configuration = one(documents("istio/ambient"), "WasmPlugin")["spec"]["pluginConfig"]
        configuration["targets"][0]["retries"] = 3
        self.assertIn("targets[0].retries: unknown field", checked(configuration))
        config = {"vm_config": vm(["AUDIT_TOKEN"]), "configuration": text_configuration(configuration)}
        self.assertIn("targets[0].retries: unknown field", refusal(bootstrap(wasm_filter(config), [])))

    def test_a_cluster_that_envoy_does_not_know_how_to_read_is_refused(self):
        [patch] = one(documents("envoy-gateway"), "EnvoyPatchPolicy")["spec"]["jsonPatches"]
        cluster = {**patch["operation"]["value"], "conect_timeout": "1s"}
        config = {"vm_config": vm(["AUDIT_TOKEN"]), "configuration": text_configuration(one(documents("istio/ambient"), "WasmPlugin")["spec"]["pluginConfig"])}
        self.assertIn("conect_timeout", refusal(bootstrap(wasm_filter(config), [cluster])))


if __name__ == "__main__":
    unittest.main()
