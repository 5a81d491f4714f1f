"""What the manifests promise: they are valid, fit together, and hold configurations that the filter and Envoy take."""

import json
import unittest

import yaml

from manifests import MODULE, bootstrap, checked, documents, named_clusters, one, problems, refusal, rendered, text_configuration, vm, wasm_filter


def static_cluster(name):
    return {"name": name, "load_assignment": {"cluster_name": name}}


def istio_clusters(found):
    """The clusters that a sidecar has by the Sidecar of the manifests."""
    ports = {host: port["number"] for entry in found if entry["kind"] == "ServiceEntry"
             for host in entry["spec"]["hosts"] for port in entry["spec"]["ports"]}
    hosts = [host.split("/")[1] for rule in one(found, "Sidecar")["spec"]["egress"] for host in rule["hosts"]]
    # A service in the mesh has no port in these files; the audit service's is 8080.
    return {f"outbound|{ports.get(host, 8080)}||{host}" for host in hosts if host != "*"}


def pod(found):
    return one(found, "Deployment", "orders")["spec"]["template"]


def merged(first, second):
    """An object with a patch in it; lists are not patched here."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return {**first, **{key: merged(first.get(key), value) for key, value in second.items()}}


def secret_keys(containers):
    for container in containers:
        for variable in container.get("env", []):
            yield variable["name"], variable["valueFrom"]["secretKeyRef"]


class Istio(unittest.TestCase):
    def setUp(self):
        self.found = documents("istio")
        self.plugin = one(self.found, "WasmPlugin")["spec"]
        # The first patch is for the EnvoyFilter only.
        self.volume, self.every = [document for document in self.found if document["kind"] == "Deployment"]
        self.pod = merged(self.every, self.volume)["spec"]["template"]
        [patch] = one(self.found, "EnvoyFilter")["spec"]["configPatches"]
        self.by_hand = patch["patch"]["value"]
        self.tags = one(self.found, "ConfigMap")["data"]["custom_bootstrap.json"]

    def test_every_document_is_valid(self):
        self.assertEqual([problem for document in self.found for problem in problems(document)], [])

    def test_both_ways_hold_the_same_configuration_and_it_is_right(self):
        configuration = self.by_hand["typed_config"]["config"]["configuration"]["value"]
        self.assertEqual(configuration, self.plugin["pluginConfig"])
        self.assertEqual(checked(configuration), "")

    def test_every_cluster_that_a_target_names_is_one_that_the_sidecar_has(self):
        self.assertLessEqual(set(named_clusters(self.plugin["pluginConfig"])), istio_clusters(self.found))

    def test_envoy_and_the_filter_take_the_plugin(self):
        self.assertEqual(self.plugin["failStrategy"], "FAIL_OPEN")
        variables = [variable["name"] for variable in self.plugin["vmConfig"]["env"]]
        config = {"vm_config": vm(variables), "configuration": text_configuration(self.plugin["pluginConfig"]), "failure_policy": "FAIL_OPEN"}
        clusters = [static_cluster(name) for name in sorted(istio_clusters(self.found))]
        self.assertEqual(refusal(bootstrap(wasm_filter(config), clusters), self.tags), "")

    def test_envoy_and_the_filter_take_the_filter_by_hand(self):
        config = self.by_hand["typed_config"]["config"]
        self.assertIs(config["fail_open"], True)
        mount = json.loads(self.pod["metadata"]["annotations"]["sidecar.istio.io/userVolumeMount"])[0]["mountPath"]
        self.assertEqual(config["vm_config"]["code"]["local"]["filename"], mount + "/plugin.wasm")
        config["vm_config"]["code"]["local"]["filename"] = MODULE
        self.assertEqual(refusal(bootstrap(self.by_hand, [])), "")

    def test_what_the_annotations_name_is_there(self):
        annotations = self.pod["metadata"]["annotations"]
        self.assertEqual(annotations["sidecar.istio.io/bootstrapOverride"], one(self.found, "ConfigMap")["metadata"]["name"])
        [volume] = json.loads(annotations["sidecar.istio.io/userVolume"])
        [mount] = json.loads(annotations["sidecar.istio.io/userVolumeMount"])
        self.assertEqual(volume["name"], mount["name"])
        self.assertEqual(self.plugin["url"], "oci://" + volume["image"]["reference"])
        proxy = yaml.safe_load(annotations["proxy.istio.io/config"])
        for prefix in proxy["proxyStatsMatcher"]["inclusionPrefixes"]:
            self.assertTrue(any(f"cluster.{name}".startswith(prefix) for name in istio_clusters(self.found)), prefix)
        drain = int(proxy["terminationDrainDuration"].rstrip("s"))
        self.assertGreater(self.pod["spec"]["terminationGracePeriodSeconds"], drain)

    def test_the_plugin_needs_no_volume_and_the_other_patch_brings_nothing_else(self):
        template = self.volume["spec"]["template"]
        self.assertEqual(template, {"metadata": {"annotations": template["metadata"]["annotations"]}})
        names = {"sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount"}
        self.assertEqual(template["metadata"]["annotations"].keys(), names)
        self.assertFalse(names & self.every["spec"]["template"]["metadata"]["annotations"].keys())
        for document in (self.volume, self.every):
            self.assertEqual(document["metadata"], {"name": "orders", "namespace": "shop"})

    def test_the_variables_of_the_module_are_those_of_the_proxy(self):
        variables = {variable["name"] for variable in self.plugin["vmConfig"]["env"]}
        by_hand = self.by_hand["typed_config"]["config"]["vm_config"]["environment_variables"]["host_env_keys"]
        self.assertLessEqual(variables | set(by_hand), {name for name, _ in secret_keys(self.pod["spec"]["containers"])})


class EnvoyGateway(unittest.TestCase):
    def setUp(self):
        self.found = documents("envoy-gateway")
        [self.wasm] = one(self.found, "EnvoyExtensionPolicy")["spec"]["wasm"]
        self.patches = one(self.found, "EnvoyPatchPolicy")["spec"]["jsonPatches"]
        self.proxy = one(self.found, "EnvoyProxy")["spec"]

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

    def test_every_document_is_valid(self):
        self.assertEqual([problem for document in self.found for problem in problems(document)], [])

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
        self.assertIn(one(self.found, "Service")["spec"]["ports"][0]["targetPort"], ports)
        labels = pod(self.found)["metadata"]["labels"]
        self.assertEqual(one(self.found, "Service")["spec"]["selector"], labels)
        self.assertEqual(one(self.found, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels)


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
        self.refused("istio", "ServiceEntry", "targetPort", "targetPorts", "targetPorts: unknown field")
        self.refused("kubernetes", "Deployment", "startupProbe", "startProbe", "startProbe")
        self.refused("kubernetes", "PodDisruptionBudget", "maxUnavailable", "maxUnavailible", "maxUnavailible")

    def test_a_wrong_value_is_refused(self):
        self.refused("istio", "WasmPlugin", "FAIL_OPEN", "OPEN", "failStrategy")
        self.refused("istio", "DestinationRule", "ISTIO_MUTUAL", "MTLS", "ISTIO_MUTUAL")
        self.refused("istio", "EnvoyFilter", "SIDECAR_INBOUND", "INBOUND", "SIDECAR_INBOUND")
        self.refused("istio", "Deployment", "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 40s", "40s")
        self.refused("kubernetes", "Deployment", "replicas: 2", "replicas: two", "two")

    def test_a_wrong_configuration_is_refused_by_the_filter_and_by_the_tool(self):
        configuration = one(documents("istio"), "WasmPlugin")["spec"]["pluginConfig"]
        configuration["targets"][0]["retries"] = 3
        self.assertIn("targets[0].retries: unknown field", checked(configuration))
        config = {"vm_config": vm(["AUDIT_TOKEN"]), "configuration": text_configuration(configuration)}
        self.assertIn("targets[0].retries: unknown field", refusal(bootstrap(wasm_filter(config), [])))

    def test_a_cluster_that_envoy_does_not_know_how_to_read_is_refused(self):
        [patch] = one(documents("envoy-gateway"), "EnvoyPatchPolicy")["spec"]["jsonPatches"]
        cluster = {**patch["operation"]["value"], "conect_timeout": "1s"}
        config = {"vm_config": vm(["AUDIT_TOKEN"]), "configuration": text_configuration(one(documents("istio"), "WasmPlugin")["spec"]["pluginConfig"])}
        self.assertIn("conect_timeout", refusal(bootstrap(wasm_filter(config), [cluster])))


if __name__ == "__main__":
    unittest.main()
