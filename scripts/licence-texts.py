#!/usr/bin/env python3
"""licence-texts.py FILE: fills in the texts that cargo-bundle-licenses did not find in the crates of FILE, its list in JSON."""

import json
import pathlib
import subprocess
import sys

APACHE = pathlib.Path("LICENSE").read_text(encoding="utf-8")
# https://spdx.org/licenses/MIT.html
MIT = """MIT License

Copyright (c) the authors of {name} ({repository})

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the
"Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish,
distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the
following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF
MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY
CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE
SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
BSD = "Redistribution and use in source and binary forms"


def folders():
    """Where the sources of each crate are."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"]
    packages = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["packages"]
    return {(crate["name"], crate["version"]): pathlib.Path(crate["manifest_path"]).parent for crate in packages}


def text(licence, crate, folder):
    """The text of a licence that a crate names, and comes without, or with under a name that is not looked for."""
    if licence == "Apache-2.0":
        return APACHE
    if licence == "MIT":
        return MIT.format(name=crate["package_name"], repository=crate["repository"])
    files = sorted(folder.glob("LICENSE*")) if licence == "BSD-3-Clause" else []
    texts = (file.read_text(encoding="utf-8") for file in files)
    return next((content for content in texts if BSD in content), "NOT FOUND")


def main(path):
    file = pathlib.Path(path)
    whole, known = json.loads(file.read_text(encoding="utf-8")), folders()
    for crate in whole["third_party_libraries"]:
        for licence in crate["licenses"]:
            if licence["text"].strip() in ("", "NOT FOUND"):
                folder = known[crate["package_name"], crate["package_version"]]
                licence["text"] = text(licence["license"], crate, folder)
    file.write_text(json.dumps(whole, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
