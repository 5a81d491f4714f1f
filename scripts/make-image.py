#!/usr/bin/env python3
"""make-image.py MODULE DIRECTORY [NAME:TAG]: the filter as an image that Istio's WasmPlugin and Envoy Gateway pull, without a network or an engine.

DIRECTORY becomes an OCI image layout (https://github.com/opencontainers/image-spec, image-layout.md), and DIRECTORY.tar the same in one file, which
`docker load` takes, too. It is the "compat" variant of the Wasm artifact image specification (https://github.com/solo-io/wasm, spec/spec-compat.md):
one layer, a tar.gz with plugin.wasm in it. The name leads to an index of an image for each platform; all of them share the layer, because the module
runs on any. The same module gives the same bytes: there is no time and no user in it.
"""

import gzip
import hashlib
import io
import json
import pathlib
import shutil
import sys
import tarfile


def archive(files):
    """A tar of these files, without times, users or anything else of the machine."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    return whole.getvalue()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def text(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


# Whoever mounts the image takes that of the node's platform.
ARCHITECTURES = ("amd64", "arm64")
INDEX = "application/vnd.oci.image.index.v1+json"


def image(module, name, tag):
    """The files of the layout, by path, and the digest of the index."""
    files = {}

    def blob(content, media_type):
        files["blobs/" + digest(content).replace(":", "/")] = content
        return {"mediaType": media_type, "digest": digest(content), "size": len(content)}

    tar = archive([("plugin.wasm", module)])
    layer = blob(gzip.compress(tar, 9, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")

    def manifest(architecture):
        config = {"architecture": architecture, "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(tar)]}}
        return {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(text(config), "application/vnd.oci.image.config.v1+json"),
            "layers": [layer],
            "annotations": {"module.wasm.image/variant": "compat", "org.opencontainers.image.title": "sidecast"},
        }

    manifests = {architecture: manifest(architecture) for architecture in ARCHITECTURES}
    entries = [
        {**blob(text(manifest), manifest["mediaType"]), "platform": {"architecture": architecture, "os": "linux"}}
        for architecture, manifest in manifests.items()
    ]
    index = blob(text({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}), INDEX)
    named = {**index, "annotations": {"org.opencontainers.image.ref.name": tag}}
    files["index.json"] = text({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]})
    files["oci-layout"] = text({"imageLayoutVersion": "1.0.0"})
    config_path, layer_path = ("blobs/" + part["digest"].replace(":", "/") for part in (manifests["amd64"]["config"], layer))
    # Read by "docker load" only, where the engine knows no index.
    files["manifest.json"] = text([{"Config": config_path, "RepoTags": [f"{name}:{tag}"], "Layers": [layer_path]}])
    return files, index["digest"]


def main(module, directory, reference="sidecast:latest"):
    name, _, tag = reference.rpartition(":")
    files, of_index = image(pathlib.Path(module).read_bytes(), name, tag)
    layout = pathlib.Path(directory)
    shutil.rmtree(layout, ignore_errors=True)
    for name, content in files.items():
        file = layout / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    layout.with_suffix(".tar").write_bytes(archive(sorted(files.items())))
    print(f"{layout}, {layout}.tar: {reference}@{of_index}")


if __name__ == "__main__":
    main(*sys.argv[1:])
