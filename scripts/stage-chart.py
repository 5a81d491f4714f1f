#!/usr/bin/env python3
"""stage-chart.py TOOL DIRECTORY: the chart as it is packaged: with the rules, the dashboard, and the whole schema of a configuration.

A chart cannot read files outside of itself, and a second copy of these would stay behind the first.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CHART = ROOT / "envoy/helm/sidecast"
LOOKAROUND = re.compile(r"\(\?<?[=!]")


def without_lookaround(schema):
    """Helm's regular expressions look neither ahead nor behind: what such a pattern allows or forbids is left to the filter."""
    if isinstance(schema, list):
        return [without_lookaround(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    looks = {"pattern": lambda value: isinstance(value, str) and LOOKAROUND.search(value), "not": lambda value: LOOKAROUND.search(json.dumps(value))}
    return {key: without_lookaround(value) for key, value in schema.items() if not (key in looks and looks[key](value))}


def main(tool, directory):
    directory = pathlib.Path(directory)
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(CHART, directory)
    files = directory / "files"
    files.mkdir()
    for file in [*sorted((ROOT / "envoy/prometheus").glob("*.rules.yml")), ROOT / "envoy/grafana/sidecast.json"]:
        shutil.copy(file, files)
    shutil.copy(ROOT / "LICENSE", directory)
    schema = directory / "values.schema.json"
    values = json.loads(schema.read_text())
    printed = subprocess.run([tool, "schema"], check=True, capture_output=True, text=True).stdout
    configuration = {key: value for key, value in json.loads(printed).items() if key not in ("$schema", "$id", "title")}
    values["properties"]["configuration"] = without_lookaround(configuration)
    schema.write_text(json.dumps(values) + "\n")
    # The same chart is the same bytes, whoever packages it.
    for file in directory.rglob("*"):
        os.chmod(file, 0o755 if file.is_dir() else 0o644)
        os.utime(file, (0, 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
