"""The kustomize components, on an application: it keeps what it had, and what is added is valid."""

import copy
import unittest

import yaml

from manifests import ROOT, checked, one, printed, problems, run, unlabelled
from test_istio import lost

FOLDER = ROOT / "envoy/kustomize"


def built(folder):
    return list(yaml.safe_load_all(printed("kubectl", "kustomize", FOLDER / folder)))


class Kustomize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.before, cls.after = built("example/base"), built("example/overlay")

    def test_the_application_keeps_what_it_had(self):
        before, after = copy.deepcopy(one(self.before, "Deployment")), copy.deepcopy(one(self.after, "Deployment"))
        by_name = [{container["name"]: container for container in document["spec"]["template"]["spec"].pop("containers")} for document in (before, after)]
        self.assertEqual(list(lost(before, after)), [])
        self.assertEqual(list(lost(*by_name)), [])
        self.assertEqual(by_name[1].keys() - by_name[0].keys(), {"istio-proxy"})

    def test_what_is_added_is_valid_and_complete(self):
        self.assertEqual(sorted(document["kind"] for document in self.after), ["Deployment", "WasmPlugin"])
        self.assertEqual([problem for document in self.after for problem in problems(document)], [])
        self.assertEqual(unlabelled(self.after), [])
        self.assertEqual({document["metadata"]["namespace"] for document in self.after}, {"shop"})
        plugin = one(self.after, "WasmPlugin")["spec"]
        self.assertEqual(checked(plugin["pluginConfig"]), "")
        pod = one(self.after, "Deployment")["spec"]["template"]
        self.assertLessEqual(plugin["selector"]["matchLabels"].items(), pod["metadata"]["labels"].items())
        given = {variable["name"] for container in pod["spec"]["containers"] if container["name"] == "istio-proxy" for variable in container["env"]}
        self.assertEqual({variable["name"] for variable in plugin["vmConfig"]["env"]}, given)

    def test_the_first_step_is_one_object(self):
        self.assertEqual([document["kind"] for document in yaml.safe_load_all(printed("kubectl", "kustomize", ROOT / "envoy/istio"))], ["WasmPlugin"])

    def test_the_token_is_for_deployments_with_the_label_only(self):
        self.assertEqual(run("kubectl", "kustomize", FOLDER / "token").stdout.strip(), "")


if __name__ == "__main__":
    unittest.main()
