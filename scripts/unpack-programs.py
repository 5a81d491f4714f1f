#!/usr/bin/env python3
"""unpack-programs.py WHEEL DIRECTORY NAME...: takes programs out of a wheel, which holds a tarball, which holds a zip."""

import io
import pathlib
import sys
import tarfile
import zipfile


def only(names, suffix, where):
    """The one name with this suffix."""
    matching = [name for name in names if name.endswith(suffix)]
    if len(matching) != 1:
        sys.exit(f"error: {where} has {len(matching)} entries that end with {suffix}, expected one")
    return matching[0]


def main(wheel, directory, *programs):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as outer:
        packed = io.BytesIO(outer.read(only(outer.namelist(), ".tgz", wheel)))
    with tarfile.open(fileobj=packed, mode="r:gz") as tar:
        layer = io.BytesIO(tar.extractfile(only(tar.getnames(), ".zip", "the tarball")).read())
    with zipfile.ZipFile(layer) as inner:
        for program in programs:
            file = directory / program
            file.write_bytes(inner.read(only(inner.namelist(), f"/{program}", "the zip")))
            file.chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
