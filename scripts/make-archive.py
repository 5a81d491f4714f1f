#!/usr/bin/env python3
"""make-archive.py NAME DIRECTORY ARCHIVE: the files of DIRECTORY as ARCHIVE, a tar.gz with NAME/ before each path and SHA256SUMS of them in it.

The same files give the same bytes: sorted by name, of the time SOURCE_DATE_EPOCH, owned by nobody in particular.
"""

import gzip
import hashlib
import io
import os
import pathlib
import sys
import tarfile


def main(name, directory, archive):
    root = pathlib.Path(directory)
    files = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    sums = "".join(f"{hashlib.sha256(files[path].read_bytes()).hexdigest()}  {path}\n" for path in sorted(files) if path != "SHA256SUMS")
    (root / "SHA256SUMS").write_text(sums)
    files["SHA256SUMS"] = root / "SHA256SUMS"
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(files):
            content = files[path].read_bytes()
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mtime = len(content), int(os.environ["SOURCE_DATE_EPOCH"])
            entry.mode = 0o755 if path.startswith("bin/") else 0o644
            tar.addfile(entry, io.BytesIO(content))
    pathlib.Path(archive).write_bytes(gzip.compress(whole.getvalue(), 9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
