#!/usr/bin/env python3
"""Writes the JSON patch that gives the pods of a workload what Sidecast needs, and takes nothing from them.

  kubectl get deployment orders -n shop -o json >before.json
  kubectl exec deploy/orders -n shop -c istio-proxy -- printenv PROXY_CONFIG >running.json
  python3 pod-patch.py before.json --running running.json --drain 20 >patch.json
  kubectl patch deployment orders -n shop --type json --patch-file patch.json

The patch adds to annotations and lists that are there, and raises times, never shortens them. Each change is tested first: if the
workload was changed since before.json was written, kubectl refuses the patch. With --undo and the same before.json it writes the
patch that takes the changes back. It works for whatever has a pod template in spec.template.
"""

import argparse
import copy
import json
import math
import re
import sys

try:
    import yaml
except ImportError:
    sys.exit("error: PyYAML is missing; install it (pip install pyyaml, Debian: apt-get install python3-yaml)")

CONFIG = "proxy.istio.io/config"
BOOTSTRAP = "sidecar.istio.io/bootstrapOverride"
VOLUME = "sidecar.istio.io/userVolume"
MOUNT = "sidecar.istio.io/userVolumeMount"
# Istio's and Kubernetes' own values, where nobody has set others.
DRAIN = 5
GRACE = 30
# The time that Envoy gets to end after the drain.
AFTER = 10


def fail(message):
    sys.exit(f"error: {message}")


def pointer(*keys):
    """A JSON pointer."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)


def seconds(text):
    """A duration as Istio writes it, such as 20s."""
    if not (found := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)s", str(text))):
        fail(f"terminationDrainDuration is {text!r}, expected seconds such as 20s")
    return float(found[1])


class Changes:
    """What becomes of a pod template, value by value."""

    def __init__(self, workload):
        self.template = copy.deepcopy(workload["spec"]["template"])
        self.annotations = copy.deepcopy((self.template.get("metadata") or {}).get("annotations"))
        self.made = []

    def put(self, after, *keys):
        """Sets a value; its parents are made where they are missing. A list takes one more entry at its end."""
        holder = self.template
        for depth, key in enumerate(keys[:-1]):
            if isinstance(holder, dict) and holder.get(key) is None:
                self.put([] if isinstance(keys[depth + 1], int) else {}, *keys[:depth + 1])
            holder = holder[key]
        last = keys[-1]
        before = holder.get(last) if isinstance(holder, dict) else None
        if before == after:
            return
        self.made.append((pointer("spec", "template", *keys), copy.deepcopy(before), copy.deepcopy(after)))
        if isinstance(holder, list):
            holder.append(after)
        else:
            holder[last] = after

    def patch(self):
        annotated = pointer("spec", "template", "metadata", "annotations")
        if self.annotations and any(before is None and path.startswith(annotated + "/") for path, before, _ in self.made):
            yield {"op": "test", "path": annotated, "value": self.annotations}
        for path, before, after in self.made:
            if before is None:
                # The API server and kubectl take null for "not there".
                if after in ({}, []):
                    yield {"op": "test", "path": path, "value": None}
                yield {"op": "add", "path": path, "value": after}
            else:
                yield {"op": "test", "path": path, "value": before}
                yield {"op": "replace", "path": path, "value": after}

    def undo(self):
        for path, before, after in reversed(self.made):
            # An empty parent stays: others may have put something into it since.
            if after not in ({}, []):
                # Of a container the API server fills in more fields.
                yield {"op": "test", "path": path + "/name", "value": after["name"]} if isinstance(after, dict) else {"op": "test", "path": path, "value": after}
                yield {"op": "remove", "path": path} if before is None else {"op": "replace", "path": path, "value": before}


def annotations(changes):
    return (changes.template.get("metadata") or {}).get("annotations") or {}


def annotate(changes, name, value):
    changes.put(value, "metadata", "annotations", name)


def proxy_config(changes):
    """The annotation that is there."""
    try:
        found = yaml.safe_load(annotations(changes).get(CONFIG) or "{}")
    except yaml.YAMLError as error:
        fail(f"the annotation {CONFIG} is not YAML: {error}")
    return found if isinstance(found, dict) else fail(f"the annotation {CONFIG} has no fields")


def joined(running, own, field):
    """A field of the annotation, with what the proxy has from elsewhere: whoever writes the field in the annotation replaces it."""
    return {**(running.get(field) or {}), **(own.get(field) or {})}


def configure(changes, running, options):
    """Statistics, the bound on answers, and the drain: fields of proxy.istio.io/config, which ProxyConfig does not have."""
    config = proxy_config(changes)
    if options.stats:
        matcher = joined(running, config, "proxyStatsMatcher")
        kept = [prefix for each in (running.get("proxyStatsMatcher"), matcher) for prefix in (each or {}).get("inclusionPrefixes") or []]
        matcher["inclusionPrefixes"] = list(dict.fromkeys([*kept, *(f"cluster.{name}" for name in options.stats)]))
        config["proxyStatsMatcher"] = matcher
    if options.answer_limit:
        values = joined(running, config, "runtimeValues")
        values.setdefault("http.async_response_buffer_limit", str(options.answer_limit))
        config["runtimeValues"] = values
    if options.drain:
        there = max(seconds(each["terminationDrainDuration"]) for each in (running, config, {"terminationDrainDuration": f"{DRAIN}s"})
                    if "terminationDrainDuration" in each)
        drain = max(there, options.drain)
        if drain > there:
            config["terminationDrainDuration"] = f"{drain:g}s"
        grace = changes.template["spec"].get("terminationGracePeriodSeconds", GRACE)
        changes.put(max(grace, math.ceil(drain) + AFTER), "spec", "terminationGracePeriodSeconds")
    before = proxy_config(changes)
    if config != before:
        annotate(changes, CONFIG, with_fields(annotations(changes).get(CONFIG) or "", before, config))


def with_fields(text, before, config):
    """The text with more fields. What stands there stays as it is, comments too, if the fields are new; else it is written anew."""
    added = yaml.safe_dump({key: value for key, value in config.items() if key not in before}, sort_keys=False)
    longer = f"{text.rstrip()}\n{added}" if text.strip() else added
    try:
        if yaml.safe_load(longer) == config:
            return longer
    except yaml.YAMLError:
        pass
    return yaml.safe_dump(config, sort_keys=False)


def environment(changes, text):
    """A variable of the proxy, out of a Secret."""
    if not (found := re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)=([^/]+)/([^/]+)", text)):
        fail(f"--env {text}: expected NAME=SECRET/KEY")
    variable = {"name": found[1], "valueFrom": {"secretKeyRef": {"name": found[2], "key": found[3]}}}
    for field in ("containers", "initContainers"):
        for index, container in enumerate(changes.template["spec"].get(field) or []):
            if container["name"] == "istio-proxy":
                return add_variable(changes, variable, field, index)
    # "auto" is the image that Istio injects.
    container = {"name": "istio-proxy", "image": "auto", "env": [variable]}
    return changes.put(container, "spec", "containers", len(changes.template["spec"]["containers"]))


def add_variable(changes, variable, field, index):
    there = changes.template["spec"][field][index].get("env") or []
    for other in there:
        if other["name"] == variable["name"]:
            return other == variable or fail(f"istio-proxy already has a different variable {variable['name']}")
    return changes.put(variable, "spec", field, index, "env", len(there))


def bootstrap(changes, name):
    """The ConfigMap that is merged into the bootstrap: there can be only one."""
    there = annotations(changes).get(BOOTSTRAP, name)
    if there != name:
        fail(f"{BOOTSTRAP} is already {there!r}; add the stats_tags of stats-tags.yaml to that ConfigMap")
    annotate(changes, BOOTSTRAP, name)


def volume(changes, reference):
    """The module as a file in the proxy, out of its image."""
    wanted = ((VOLUME, {"name": "sidecast", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}),
              (MOUNT, {"name": "sidecast", "mountPath": "/var/lib/sidecast", "readOnly": True}))
    for name, entry in wanted:
        text = annotations(changes).get(name) or "[]"
        try:
            there = json.loads(text)
        except ValueError:
            fail(f"the annotation {name} is not JSON: {text}")
        # Istio reads a list, and a map by name as well.
        if isinstance(there, dict):
            there = {**there, "sidecast": {key: value for key, value in entry.items() if key != "name"}}
        else:
            there = [each for each in there if each.get("name") != "sidecast"] + [entry]
        annotate(changes, name, json.dumps(there))


def read(path, what):
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")
    return found if isinstance(found, dict) else fail(f"{path}: expected {what}")


def has_pods(workload):
    """Whether there is a pod template with containers."""
    found = workload
    for key in ("spec", "template", "spec"):
        found = found.get(key) if isinstance(found, dict) else None
    return isinstance(found, dict) and isinstance(found.get("containers"), list)


def positive(text):
    """A whole number above 0."""
    if not re.fullmatch("[1-9][0-9]{0,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", metavar="BEFORE", help="the workload, as kubectl get -o json writes it")
    parser.add_argument("--env", metavar="NAME=SECRET/KEY", action="append", default=[], help="a variable of istio-proxy from a Secret")
    parser.add_argument("--bootstrap", metavar="CONFIGMAP", help="merge this ConfigMap into the proxy's bootstrap (stats-tags.yaml)")
    parser.add_argument("--volume", metavar="IMAGE", help="mount the module from this image, for envoyfilter.yaml")
    parser.add_argument("--running", metavar="FILE", help="PROXY_CONFIG of a running proxy; needed by the options below")
    parser.add_argument("--stats", metavar="CLUSTER", action="append", default=[], help="keep Envoy's statistics of this cluster")
    parser.add_argument("--answer-limit", metavar="BYTES", type=positive, help="hold at most this much of a target's response, unless a limit is already set")
    parser.add_argument("--drain", metavar="SECONDS", type=positive, help="give copies at least this long when a pod ends")
    parser.add_argument("--undo", action="store_true", help="write the patch that undoes the changes")
    options = parser.parse_args()
    if (options.stats or options.answer_limit or options.drain) and not options.running:
        parser.error("--stats, --answer-limit and --drain need --running")
    return options


def main():
    options = arguments()
    workload = read(options.workload, "an object")
    if not has_pods(workload):
        fail(f"{options.workload}: no pod template in spec.template")
    changes = Changes(workload)
    for text in options.env:
        environment(changes, text)
    if options.bootstrap:
        bootstrap(changes, options.bootstrap)
    if options.volume:
        volume(changes, options.volume)
    if options.running:
        configure(changes, read(options.running, "the fields of PROXY_CONFIG"), options)
    print(json.dumps(list(changes.undo() if options.undo else changes.patch()), indent=2))
    if not changes.made:
        print("nothing to change: the workload already has all of it", file=sys.stderr)


if __name__ == "__main__":
    main()
