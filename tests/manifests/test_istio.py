"""The files for Istio: each is valid by itself, and none takes from a workload what it had."""

import copy
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import yaml

from manifests import (MODULE, ROOT, bootstrap, checked, documents, named_clusters, one, patched, problems, refusal, text_configuration, tool_says,
                       unlabelled, vm, wasm_filter)

FOLDER = ROOT / "envoy/istio"
VARIANTS = ("istio", "istio/gateway", "istio/ambient")
CONFIG = "proxy.istio.io/config"
# What a workload may have before, and must have after.
BEFORE = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders", "namespace": "shop"},
    "spec": {"selector": {"matchLabels": {"app": "orders"}}, "template": {
        "metadata": {"labels": {"app": "orders"}, "annotations": {
            CONFIG: "holdApplicationUntilProxyStarts: true\nproxyStatsMatcher:\n  inclusionPrefixes: [http.inbound]\n  inclusionSuffixes: [rq_total]\n",
            "sidecar.istio.io/userVolume": '[{"name": "ours", "emptyDir": {}}]', "team": "orders"}},
        "spec": {"terminationGracePeriodSeconds": 120, "containers": [
            {"name": "app", "image": "app:1", "env": [{"name": "A", "value": "b"}]},
            {"name": "istio-proxy", "image": "registry.example/proxyv2:ours", "env": [{"name": "OURS", "value": "1"}]}]}}},
}
RUNNING = {"proxyStatsMatcher": {"inclusionPrefixes": ["cluster.mesh"]}, "runtimeValues": {"a": "1"}, "terminationDrainDuration": "60s"}
ALL = ["--env", "AUDIT_TOKEN=sidecast/audit-token", "--bootstrap", "sidecast-stats-tags", "--volume", "registry.example/sidecast:0.1.0",
       "--stats", "outbound|8080||audit.audit.svc.cluster.local", "--answer-limit", "1048576", "--drain", "20"]


def plain(annotations=None, **spec):
    """A workload that has nothing of its own."""
    metadata = {"labels": {"app": "orders"}, **({"annotations": annotations} if annotations is not None else {})}
    template = {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "app:1"}], **spec}}
    return {**BEFORE, "spec": {**BEFORE["spec"], "template": template}}


def written(workload, running, *options):
    """What pod-patch.py does for a workload."""
    with tempfile.TemporaryDirectory() as directory:
        before, config = pathlib.Path(directory, "before.json"), pathlib.Path(directory, "running.json")
        before.write_text(json.dumps(workload))
        config.write_text(json.dumps(running))
        command = [sys.executable, "-B", FOLDER / "pod-patch.py", before, "--running", config, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def changed(workload, running, *options):
    """The workload with that patch in it."""
    done = written(workload, running, *options)
    assert done.returncode == 0, done.stderr
    return patched(workload, "json", done.stdout)


def lost(before, after, path=""):
    """What was there before and is not there after; a list may have become longer."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after[key], f"{path}.{key}") if key in after else [f"{path}.{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        for index, value in enumerate(before):
            yield from lost(value, after[index], f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before} became {after}"


class PodPatch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.after = changed(BEFORE, RUNNING, *ALL)
        cls.template = cls.after["spec"]["template"]

    def test_nothing_that_a_workload_had_is_lost(self):
        before, after = copy.deepcopy(BEFORE["spec"]["template"]), copy.deepcopy(self.template)
        for template in (before, after):
            annotations = template["metadata"]["annotations"]
            annotations[CONFIG] = yaml.safe_load(annotations[CONFIG])
            annotations["sidecar.istio.io/userVolume"] = json.loads(annotations["sidecar.istio.io/userVolume"])
            # Its order means nothing.
            prefixes = annotations[CONFIG]["proxyStatsMatcher"]["inclusionPrefixes"]
            prefixes.sort(key=lambda prefix: prefix != "http.inbound")
        self.assertEqual(list(lost(before, after)), [])
        self.assertEqual(problems(self.after), [])

    def test_what_the_proxy_has_from_the_mesh_stays_beside_what_is_added(self):
        config = yaml.safe_load(self.template["metadata"]["annotations"][CONFIG])
        self.assertEqual(config["proxyStatsMatcher"]["inclusionPrefixes"],
                         ["cluster.mesh", "http.inbound", "cluster.outbound|8080||audit.audit.svc.cluster.local"])
        self.assertEqual(config["runtimeValues"], {"a": "1", "http.async_response_buffer_limit": "1048576"})

    def test_no_time_is_shortened_and_a_short_one_is_raised(self):
        config = yaml.safe_load(self.template["metadata"]["annotations"][CONFIG])
        # 60 s come from the mesh; the annotation would shorten them.
        self.assertNotIn("terminationDrainDuration", config)
        self.assertEqual(self.template["spec"]["terminationGracePeriodSeconds"], 120)
        for running, spec, drain, grace in (({}, {}, "20s", 30), ({}, {"terminationGracePeriodSeconds": 10}, "20s", 30),
                                            ({"terminationDrainDuration": "45s"}, {}, None, 55), ({}, {"terminationGracePeriodSeconds": 31}, "20s", 31)):
            spec_after = changed(plain(**spec), running, "--drain", "20")["spec"]["template"]
            found = yaml.safe_load(spec_after["metadata"].get("annotations", {}).get(CONFIG, "{}"))
            self.assertEqual(found.get("terminationDrainDuration"), drain)
            # Kubernetes' own is 30 where none is written.
            self.assertEqual(spec_after["spec"].get("terminationGracePeriodSeconds", 30), grace)

    def test_the_container_of_the_proxy_keeps_its_image_and_is_added_where_there_is_none(self):
        self.assertEqual([container["name"] for container in self.template["spec"]["containers"]], ["app", "istio-proxy"])
        self.assertEqual(self.template["spec"]["containers"][1]["image"], "registry.example/proxyv2:ours")
        token = {"name": "AUDIT_TOKEN", "valueFrom": {"secretKeyRef": {"name": "sidecast", "key": "audit-token"}}}
        app, proxy = changed(plain(), {}, *ALL[:2])["spec"]["template"]["spec"]["containers"]
        self.assertEqual((app["name"], proxy), ("app", {"name": "istio-proxy", "image": "auto", "env": [token]}))
        native = plain(initContainers=[{"name": "istio-proxy", "image": "auto"}])
        spec = changed(native, {}, *ALL[:2])["spec"]["template"]["spec"]
        self.assertEqual((len(spec["containers"]), spec["initContainers"][0]["env"]), (1, [token]))

    def test_it_can_be_applied_again_and_taken_back(self):
        for before in (BEFORE, plain(), plain({}), plain({"team": "orders"})):
            after = changed(before, RUNNING, *ALL)
            self.assertEqual(json.loads(written(after, RUNNING, *ALL).stdout), [])
            undo = written(before, RUNNING, *ALL, "--undo").stdout
            back = patched(after, "json", undo)
            self.assertEqual(list(lost(before, back)), [])
            # Only empty fields may stay.
            without = json.loads(json.dumps(back).replace('"annotations": {}, ', ""))
            self.assertEqual(without["spec"]["template"]["spec"], before["spec"]["template"]["spec"])

    def test_the_patch_is_refused_when_the_workload_has_changed_since(self):
        for before, since in ((BEFORE, plain({CONFIG: "concurrency: 4"})), (plain(terminationGracePeriodSeconds=10), plain(terminationGracePeriodSeconds=300)),
                              (plain(), plain({"restarted": "now"})), (plain({"a": "b"}), plain({"a": "b", "restarted": "now"}))):
            patch = written(before, {}, "--drain", "20").stdout
            with self.assertRaisesRegex(AssertionError, "test"):
                patched(since, "json", patch)

    def test_what_it_cannot_add_without_loss_it_refuses(self):
        for annotations, options, word in (({"sidecar.istio.io/bootstrapOverride": "theirs"}, ALL, "theirs"), ({CONFIG: "a: [b"}, ALL, "not YAML"),
                                           ({CONFIG: "- a"}, ALL, "no fields"), ({CONFIG: "terminationDrainDuration: 1m"}, ALL, "1m"),
                                           ({"sidecar.istio.io/userVolume": "a: b"}, ALL, "not JSON"), ({}, ["--env", "A=b"], "SECRET/KEY")):
            done = written(plain(annotations), {}, *options)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn(word, done.stderr)
        other = copy.deepcopy(BEFORE)
        other["spec"]["template"]["spec"]["containers"][1]["env"].append({"name": "AUDIT_TOKEN", "value": "plain"})
        self.assertIn("a different variable", written(other, {}, *ALL).stderr)
        for workload in ({"kind": "ConfigMap"}, {"spec": None}, {"spec": {"template": {"spec": {}}}}, {"spec": []}):
            self.assertIn("no pod template", written(workload, {}, *ALL).stderr)
        for number in ("0", "-5", "20s"):
            self.assertIn("not a whole number", written(plain(), {}, f"--drain={number}").stderr)

    def test_comments_and_the_way_it_is_written_stay(self):
        for text in ("# Ours.\nconcurrency: 2 # cores\n", '{"concurrency": 2}', "concurrency: 2\nrunningValues: null", ""):
            after = changed(plain({CONFIG: text}), {}, "--drain", "20", "--answer-limit", "7")["spec"]["template"]["metadata"]["annotations"][CONFIG]
            wanted = {**(yaml.safe_load(text) or {}), "runtimeValues": {"http.async_response_buffer_limit": "7"}, "terminationDrainDuration": "20s"}
            self.assertEqual(yaml.safe_load(after), wanted)
            self.assertTrue(after.startswith(text.rstrip()) or text.startswith("{"), after)


class Istio(unittest.TestCase):
    def setUp(self):
        self.found = documents("istio")
        self.smallest, self.plugin = self.plugins()
        [patch] = one(self.found, "EnvoyFilter")["spec"]["configPatches"]
        self.by_hand = patch["patch"]["value"]
        self.tags = one(self.found, "ConfigMap")["data"]["custom_bootstrap.json"]

    def plugins(self):
        """The smallest plugin, and the one with everything."""
        return [yaml.safe_load((FOLDER / name).read_text())["spec"] for name in ("wasmplugin.yaml", "wasmplugin-outside.yaml")]

    def test_every_document_is_valid_and_has_the_standard_labels(self):
        for folder in VARIANTS:
            found = documents(folder)
            self.assertTrue(found)
            self.assertEqual([problem for document in found for problem in problems(document)], [])
            self.assertEqual(unlabelled(found), [])

    def test_the_tool_has_nothing_against_any_of_them(self):
        files = [file for folder in VARIANTS for file in (ROOT / "envoy" / folder).glob("*.yaml") if "targets:" in file.read_text()]
        self.assertEqual(len(files), 6)
        self.assertEqual(tool_says(*files), "")

    def test_the_smallest_step_needs_nothing_of_the_pods(self):
        self.assertNotIn("vmConfig", self.smallest)
        self.assertNotIn("env:", json.dumps(self.smallest))
        services = {cluster.split("|")[3] for cluster in named_clusters(self.smallest["pluginConfig"])}
        self.assertEqual(services, {"audit.audit.svc.cluster.local"})
        self.assertEqual({key: value for key, value in self.plugin.items() if key not in ("vmConfig", "pluginConfig")},
                         {key: value for key, value in self.smallest.items() if key != "pluginConfig"})

    def test_both_ways_hold_the_same_configuration_and_it_is_right(self):
        configuration = self.by_hand["typed_config"]["config"]["configuration"]["value"]
        self.assertEqual(configuration, self.plugin["pluginConfig"])
        self.assertEqual(checked(configuration), "")

    def test_every_cluster_that_a_target_names_is_one_that_the_files_give_or_a_service(self):
        entry = one(self.found, "ServiceEntry")["spec"]
        given = {f"outbound|{port['number']}||{host}" for host in entry["hosts"] for port in entry["ports"]}
        services = {"outbound|8080||audit.audit.svc.cluster.local"}
        self.assertLessEqual(set(named_clusters(self.plugin["pluginConfig"])), given | services)
        # Nobody else asks for a host that is made for this.
        self.assertTrue(all(host.endswith(".sidecast.internal") for host in entry["hosts"]))
        rule = one(self.found, "DestinationRule")["spec"]
        self.assertEqual([rule["host"]], entry["hosts"])
        self.assertEqual([document["spec"]["exportTo"] for document in self.found if document["kind"] in ("ServiceEntry", "DestinationRule")], [["."]] * 2)

    def test_envoy_and_the_filter_take_the_plugins_of_all_variants(self):
        everything = [document["spec"] for folder in VARIANTS for document in documents(folder) if document["kind"] == "WasmPlugin"]
        self.assertEqual(len(everything), 5)
        listeners = []
        for plugin in everything:
            self.assertEqual((plugin["failStrategy"], plugin["phase"]), ("FAIL_OPEN", "STATS"))
            variables = [variable["name"] for variable in plugin.get("vmConfig", {"env": []})["env"]]
            config = {"vm_config": vm([*variables, "AUDIT_TOKEN", "SIDECAST_ORIGIN"]), "configuration": text_configuration(plugin["pluginConfig"]),
                      "failure_policy": "FAIL_OPEN"}
            config["vm_config"]["environment_variables"]["host_env_keys"] = variables
            listeners += bootstrap(wasm_filter(config), [])["static_resources"]["listeners"]
        whole = {"static_resources": {"listeners": [{**listener, "name": f"listener-{index}"} for index, listener in enumerate(listeners)]}}
        self.assertEqual(refusal(whole, self.tags), "")

    def test_envoy_and_the_filter_take_the_filter_by_hand(self):
        config = self.by_hand["typed_config"]["config"]
        self.assertIs(config["fail_open"], True)
        annotations = changed(plain(), {}, *ALL)["spec"]["template"]["metadata"]["annotations"]
        mount = json.loads(annotations["sidecar.istio.io/userVolumeMount"])[0]
        [volume] = json.loads(annotations["sidecar.istio.io/userVolume"])
        self.assertEqual((mount["name"], self.plugin["url"]), (volume["name"], "oci://" + volume["image"]["reference"]))
        self.assertEqual(config["vm_config"]["code"]["local"]["filename"], mount["mountPath"] + "/plugin.wasm")
        config["vm_config"]["code"]["local"]["filename"] = MODULE
        self.assertEqual(refusal(bootstrap(self.by_hand, [])), "")

    def test_the_variables_of_the_module_are_those_that_the_steps_give(self):
        given = set(one(self.found, "ProxyConfig")["spec"]["environmentVariables"]) | {"AUDIT_TOKEN"}
        by_hand = self.by_hand["typed_config"]["config"]["vm_config"]["environment_variables"]["host_env_keys"]
        self.assertEqual({variable["name"] for variable in self.plugin["vmConfig"]["env"]}, given)
        self.assertEqual(set(by_hand), given)

    def test_a_sidecar_keeps_its_hosts(self):
        sidecar = {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar", "metadata": {"name": "orders", "namespace": "shop"},
                   "spec": {"egress": [{"hosts": ["./*", "istio-system/*"]}, {"port": {"number": 1, "protocol": "TCP", "name": "a"}, "hosts": ["a/*"]}]}}
        after = patched(sidecar, "json", FOLDER / "sidecar-patch.json")
        self.assertEqual(problems(after), [])
        self.assertEqual(after["spec"]["egress"][0]["hosts"][:2], ["./*", "istio-system/*"])
        self.assertEqual(after["spec"]["egress"][1:], sidecar["spec"]["egress"][1:])
        names = {host.split("/")[1] for host in after["spec"]["egress"][0]["hosts"][2:]}
        self.assertEqual(names, {cluster.split("|")[3] for cluster in named_clusters(self.plugin["pluginConfig"])})
        # Without a list there is nothing to add to, and nothing to lose: such a Sidecar leaves no cluster out.
        with self.assertRaises(AssertionError):
            patched({**sidecar, "spec": {}}, "json", FOLDER / "sidecar-patch.json")

    def test_gateways_and_waypoints_are_found_the_way_istio_looks_for_them(self):
        gateways, ambient = documents("istio/gateway"), documents("istio/ambient")
        for plugin in (document["spec"] for document in gateways):
            self.assertEqual([match["mode"] for match in plugin["match"]], ["CLIENT"])
            self.assertEqual(len({"selector", "targetRefs"} & plugin.keys()), 1)
        gateway = one(ambient, "Gateway")["metadata"]
        for kind in ("WasmPlugin", "EnvoyFilter"):
            document = one(ambient, kind)
            [target] = document["spec"]["targetRefs"]
            self.assertEqual((target["kind"], target["name"], document["metadata"]["namespace"]), ("Gateway", gateway["name"], gateway["namespace"]))
            self.assertNotIn("selector", document["spec"])
        referenced = one(ambient, "EnvoyFilter")["metadata"]["annotations"]["envoyfilter.istio.io/referenced-services"].split(",")
        clusters = named_clusters(one(ambient, "WasmPlugin")["spec"]["pluginConfig"])
        self.assertEqual({name.split("/")[1] for name in referenced}, {cluster.split("|")[3] for cluster in clusters})


if __name__ == "__main__":
    unittest.main()
