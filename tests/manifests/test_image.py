"""The image: what is in it, byte for byte, and that tools which others use can read it."""

import gzip
import hashlib
import io
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

from manifests import MODULE, ROOT

LAYERS = {
    "application/vnd.oci.image.manifest.v1+json": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.distribution.manifest.v2+json": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


def make(directory, reference="sidecast:latest", **environment):
    """Makes the image in this directory, as `make image` does."""
    command = [sys.executable, "-B", ROOT / "scripts/make-image.py", MODULE, directory / "image", reference]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment}, cwd=directory)
    return directory / "image"


def run(*command):
    """What a command prints."""
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def module_of(manifest, blob):
    """The module as Istio and Envoy Gateway take it out: plugin.wasm in the last layer, which must have the manifest's kind of media type."""
    layer = manifest["layers"][-1]
    assert layer["mediaType"] == LAYERS[manifest["mediaType"]], layer
    with tarfile.open(fileobj=io.BytesIO(blob(layer["digest"])), mode="r:gz") as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar.getmembers()}


class Image(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)
        self.layout = make(self.directory)
        self.module = pathlib.Path(MODULE).read_bytes()

    def blob(self, digest):
        """A blob by its digest, which must be its own."""
        content = (self.layout / "blobs" / digest.replace(":", "/")).read_bytes()
        self.assertEqual("sha256:" + hashlib.sha256(content).hexdigest(), digest)
        return content

    def described(self, descriptor):
        """The blob of a descriptor, which must tell its size."""
        content = self.blob(descriptor["digest"])
        self.assertEqual(len(content), descriptor["size"])
        return content

    def assert_module(self, files):
        """Nothing but the module. (Not by assertEqual, which would show how they differ for minutes.)"""
        self.assertEqual(list(files), ["plugin.wasm"])
        self.assertTrue(files["plugin.wasm"] == self.module, "not the bytes of the module")

    def manifests(self):
        """The manifest of each architecture, through the index that the name leads to."""
        [named] = json.loads((self.layout / "index.json").read_text())["manifests"]
        self.assertEqual(named["annotations"], {"org.opencontainers.image.ref.name": "latest"})
        index = json.loads(self.described(named))
        self.assertEqual(index["mediaType"], named["mediaType"])
        manifests = {}
        for entry in index["manifests"]:
            self.assertEqual(entry["platform"]["os"], "linux")
            manifest = json.loads(self.described(entry))
            self.assertEqual((manifest["mediaType"], manifest["annotations"]["module.wasm.image/variant"]), (entry["mediaType"], "compat"))
            manifests[entry["platform"]["architecture"]] = manifest
        return manifests, {named["digest"], *(entry["digest"] for entry in index["manifests"])}

    def test_every_digest_and_size_is_right_and_nothing_else_is_there(self):
        self.assertEqual(json.loads((self.layout / "oci-layout").read_text()), {"imageLayoutVersion": "1.0.0"})
        manifests, listed = self.manifests()
        self.assertEqual(set(manifests), {"amd64", "arm64"})
        for architecture, manifest in manifests.items():
            [layer] = manifest["layers"]
            packed = self.described(layer)
            # RFC 1952, 2.3.1: there is no time in it.
            self.assertEqual(packed[4:8], bytes(4))
            tar = gzip.decompress(packed)
            config = json.loads(self.described(manifest["config"]))
            self.assertEqual((config["architecture"], config["os"]), (architecture, "linux"))
            self.assertEqual(config["rootfs"], {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest()]})
            listed |= {layer["digest"], manifest["config"]["digest"]}
        # The module is there once.
        self.assertEqual(manifests["amd64"]["layers"], manifests["arm64"]["layers"])
        self.assertEqual({"sha256:" + blob.name for blob in (self.layout / "blobs/sha256").iterdir()}, listed)

    def test_the_layer_is_the_module_and_nothing_else(self):
        for manifest in self.manifests()[0].values():
            self.assert_module(module_of(manifest, self.blob))

    def test_the_same_module_gives_the_same_bytes(self):
        elsewhere = self.directory / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        again = make(elsewhere, TZ="Pacific/Auckland", SOURCE_DATE_EPOCH="1", HOME="/")
        files = sorted(path.relative_to(self.layout) for path in self.layout.rglob("*") if path.is_file())
        self.assertEqual(len(files), 9)
        for file in files:
            self.assertTrue((self.layout / file).read_bytes() == (again / file).read_bytes(), file)
        self.assertTrue(self.layout.with_suffix(".tar").read_bytes() == again.with_suffix(".tar").read_bytes())
        with tarfile.open(self.layout.with_suffix(".tar")) as tar:
            self.assertEqual([(entry.mtime, entry.uid, entry.uname) for entry in tar], [(0, 0, "")] * 9)

    @unittest.skipUnless(shutil.which("skopeo") or "CI" in os.environ, "skopeo is missing")
    def test_skopeo_takes_the_image_of_each_platform_with_manifests_of_both_kinds(self):
        for architecture, source in itertools.product(("amd64", "arm64"), (f"oci:{self.layout}:latest", f"oci-archive:{self.layout}.tar:latest")):
            platform = ("--override-os", "linux", "--override-arch", architecture)
            inspected = json.loads(run("skopeo", *platform, "inspect", source))
            self.assertEqual((inspected["Architecture"], inspected["Os"]), (architecture, "linux"))
            for kind, media_type in zip(("oci", "v2s2"), LAYERS):
                copy = self.directory / f"copy-{kind}"
                run("skopeo", *platform, "copy", "--insecure-policy", "--format", kind, source, f"dir:{copy}")
                manifest = json.loads((copy / "manifest.json").read_text())
                self.assertEqual(manifest["mediaType"], media_type)
                files = module_of(manifest, lambda digest, copy=copy: (copy / digest.split(":")[1]).read_bytes())
                self.assert_module(files)

    @unittest.skipUnless(shutil.which("skopeo") or "CI" in os.environ, "skopeo is missing")
    def test_skopeo_copies_all_platforms_at_once_and_changes_no_digest(self):
        [named] = json.loads((self.layout / "index.json").read_text())["manifests"]
        run("skopeo", "copy", "--all", "--insecure-policy", f"oci:{self.layout}:latest", f"oci:{self.directory / 'copied'}:latest")
        [copied] = json.loads((self.directory / "copied/index.json").read_text())["manifests"]
        self.assertEqual(copied["digest"], named["digest"])

    def test_docker_loads_it_and_gives_the_module_back(self):
        try:
            engine = subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            engine = False
        if not engine:
            self.skipTest("no container engine answers")
        reference = f"sidecast-image-test:{os.getpid()}"
        loaded = self.directory / "loaded"
        loaded.mkdir()
        run("docker", "load", "--input", f"{make(loaded, reference)}.tar")
        self.addCleanup(run, "docker", "image", "rm", reference)
        container = run("docker", "create", reference, "plugin.wasm").decode().strip()
        self.addCleanup(run, "docker", "rm", container)
        run("docker", "cp", f"{container}:/plugin.wasm", loaded / "plugin.wasm")
        self.assert_module({"plugin.wasm": (loaded / "plugin.wasm").read_bytes()})


if __name__ == "__main__":
    unittest.main()
