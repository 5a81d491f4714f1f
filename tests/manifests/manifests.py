"""The shipped manifests, what published schemas say of one, and the Envoy configuration that is in each."""

import importlib
import json
import os
import pathlib
import subprocess
import tempfile

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The command-line tool.
TOOL = ROOT / os.environ.get("SIDECAST", "dist/sidecast")
KUBERNETES = "1.37"
ENVOY = os.environ["ENVOY"]
MODULE = os.environ.get("SIDECAST_WASM", str(ROOT / "dist/sidecast.wasm"))
WASM = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
TEXT = "type.googleapis.com/google.protobuf.StringValue"
PROGRAMS = pathlib.Path(os.environ.get("MANIFESTS_BIN", ROOT / "target/manifests/bin"))
# https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
STANDARD_LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "version", "component", "part-of", "managed-by")}


def documents(folder, change=lambda text: text):
    """All documents of a folder under envoy/; `change` may break the text of one on the way."""
    found = []
    for file in sorted((ROOT / "envoy" / folder).glob("*.yaml")):
        # kustomize's own file is for kubectl alone.
        found += [document for document in yaml.safe_load_all(change(file.read_text())) if document and document["kind"] != "Kustomization"]
    return found


def one(found, kind, name=None):
    """The one document of this kind (and name)."""
    matching = [document for document in found if document["kind"] == kind and name in (None, document["metadata"]["name"])]
    assert len(matching) == 1, f"{len(matching)} of {kind} {name or ''}"
    return matching[0]


def lost(given, kept, path=""):
    """What a schema did not take over from a document: fields that it does not know."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                yield f"{path}.{key}: unknown field"
            else:
                yield from lost(value, kept[key], f"{path}.{key}")
    elif isinstance(given, list) and isinstance(kept, list):
        for index, pair in enumerate(zip(given, kept)):
            yield from lost(*pair, f"{path}[{index}]")


def problems(document):
    """What the published schema of its kind says of a document. Of Envoy Gateway's and the Gateway API's kinds none is published as a package."""
    group, _, version = document["apiVersion"].rpartition("/")
    if group.endswith("envoyproxy.io") or group == "gateway.networking.k8s.io":
        return []
    if group.endswith("istio.io"):
        module = importlib.import_module(f"cloudcoil.models.istio.{group.split('.')[0]}.{version}")
    elif group == "monitoring.coreos.com":
        module = importlib.import_module(f"cloudcoil.models.prometheus_operator.{version}")
    else:
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
            return []
        except kubernetes_validate.ValidationError as error:
            return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}"]
    try:
        model = getattr(module, document["kind"]).model_validate(document)
    except ValueError as error:
        return [str(error)]
    return list(lost(document, model.model_dump(by_alias=True, exclude_unset=True, mode="json")))


def text_configuration(value):
    """The filter's configuration as Istio and Envoy Gateway hand it on: JSON in a StringValue."""
    return {"@type": TEXT, "value": json.dumps(value)}


def vm(variables):
    """How Istio and Envoy Gateway have the module run."""
    return {"runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": MODULE}}, "environment_variables": {"host_env_keys": variables}}


def bootstrap(wasm_filter, clusters):
    """A bootstrap with a filter out of a manifest in it."""
    filters = [wasm_filter, {"name": "router", "typed_config": {"@type": ROUTER}}]
    manager = {"@type": MANAGER, "stat_prefix": "all", "route_config": {}, "http_filters": filters}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {"static_resources": {"listeners": [{"name": "all", "address": address, "filter_chains": [chain]}], "clusters": clusters}}


def wasm_filter(config):
    """The filter with this plugin configuration."""
    return {"name": "sidecast", "typed_config": {"@type": WASM, "config": config}}


def refusal(whole, *merged):
    """What a real Envoy, with the filter in it, has against a bootstrap and what is merged into it; empty if it takes it."""
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "bootstrap.json")
        file.write_text(json.dumps(whole))
        command = [ENVOY, "--mode", "validate", "-c", str(file), "--log-level", "error", "--component-log-level", "wasm:error"]
        for text in merged:
            command += ["--config-yaml", text]
        environment = {**os.environ, "AUDIT_TOKEN": "any", "SIDECAST_ORIGIN": "any"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    return "" if done.returncode == 0 else done.stderr + done.stdout


def run(program, *arguments, stdin=None):
    """What kubectl or helm does, without a cluster."""
    environment = {**os.environ, "KUBECONFIG": "/nonexistent", "HELM_CACHE_HOME": "/nonexistent", "HELM_CONFIG_HOME": "/nonexistent"}
    command = [PROGRAMS / program, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, timeout=60, check=False)


def printed(program, *arguments, stdin=None):
    """What it prints, if it is content."""
    done = run(program, *arguments, stdin=stdin)
    assert done.returncode == 0, f"{program} {arguments}: {done.stderr}{done.stdout}"
    return done.stdout


def patched(document, kind, patch):
    """A document with a patch in it, as kubectl makes it; `patch` is a file or the text of one."""
    with tempfile.TemporaryDirectory() as directory:
        before = pathlib.Path(directory, "before.json")
        before.write_text(json.dumps(document))
        if not isinstance(patch, pathlib.Path):
            text, patch = patch, pathlib.Path(directory, "patch.json")
            patch.write_text(text)
        return yaml.safe_load(printed("kubectl", "patch", "--local", "-f", before, "--type", kind, "--patch-file", patch, "-o", "yaml"))


def tool_says(*files):
    """What `sidecast check --deny-warnings` has against files; empty if nothing."""
    done = subprocess.run([TOOL, "check", "--deny-warnings", *files], capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def unlabelled(found):
    """Objects that lack one of the standard labels."""
    return [f"{document['kind']} {document['metadata']['name']}: {sorted(missing)}" for document in found
            if (missing := STANDARD_LABELS - document["metadata"].get("labels", {}).keys())]


def checked(configuration):
    """What the command-line tool says of a filter's configuration; empty if it is right."""
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory, "configuration.json")
        file.write_text(json.dumps(configuration))
        done = subprocess.run([TOOL, "check", file], capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def named_clusters(configuration):
    """The clusters that a filter's configuration names."""
    for target in configuration["targets"]:
        yield target["cluster"]
        if "dead_letter" in target:
            yield target["dead_letter"]["cluster"]


def rendered(form, *arguments):
    """What the tool renders of tests/cli/render.yaml for a platform."""
    command = [TOOL, "render", "tests/cli/render.yaml", "--as", form, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    return list(yaml.safe_load_all(done.stdout))
