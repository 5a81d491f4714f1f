"""The recording of `make run` in the README: docs/images/run.cast, as text, and docs/images/run.svg, drawn of it.

record       runs it, and writes both. What it prints is kept to the letter; only the pace is another, so that it can be read.
draw         draws the text.
check        fails if the picture is not what the text gives.
compare FILE fails if a run printed something else than the recording shows, but for ids. FILE is what `make run ONCE=1` printed.
"""

import argparse
import json
import os
import pathlib
import pty
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CAST = ROOT / "docs/images/run.cast"
SVG = ROOT / "docs/images/run.svg"
TEMPLATE = ROOT / "docs/images/parts/terminal.svg"
WIDTH, HEIGHT = 90, 28
PROMPT, COMMAND = "\x1b[32m$\x1b[0m ", "make run"
# What it prints before comes from the build.
FIRST, LAST = "Envoy listens on ", "Press Ctrl-C to stop."
# `make run ONCE=1` ends here.
AFTER_ONCE = "Try it: "
KEY_S, LINE_S, PARAGRAPH_S, END_S = 0.07, 0.09, 1.9, 4
MOST_BYTES = 300 << 10


class Failed(Exception):
    """Says to the user what is wrong."""


def run():
    """What `make run` prints on a terminal, up to the last line; then Ctrl-C."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("make", ["make", "--no-print-directory", "-C", str(ROOT), "run"])
    printed = b""
    try:
        while LAST.encode() not in printed:
            printed += os.read(terminal, 4096)
    except OSError:
        raise Failed(f"make run ended:\n{printed.decode()}") from None
    finally:
        os.write(terminal, b"\x03")
        try:
            while os.read(terminal, 4096):
                pass
        except OSError:
            pass
        os.waitpid(pid, 0)
    lines = printed.decode().replace("\r\n", "\n").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(FIRST))
    return lines[first:]


def cast(lines):
    """The recording: a header, and what is printed when."""
    at, events = 0.5, [(0.0, PROMPT)]
    for key in COMMAND:
        events.append((at, key))
        at += KEY_S
    events.append((at + 0.4, "\r\n"))
    at += 0.9
    for line in lines:
        events.append((at, f"{line}\r\n"))
        at += LINE_S if line else PARAGRAPH_S
    events.append((at + END_S, "\x1b[0m"))
    header = {"version": 2, "width": WIDTH, "height": HEIGHT, "title": COMMAND}
    return "".join(f"{json.dumps(one)}\n" for one in [header, *([round(when, 2), "o", text] for when, text in events)])


def shown(text):
    """The lines that the recording prints after its command."""
    events = [json.loads(line) for line in text.splitlines()[1:]]
    whole = "".join(event[2] for event in events)
    return plain(whole).splitlines()[1:]


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r\n", "\n")


def normal(line):
    """The line with what differs from run to run left out."""
    return re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "ID", line).rstrip()


def draw(termtosvg, text):
    """The recording as an animated picture."""
    with tempfile.TemporaryDirectory() as directory:
        source, target = pathlib.Path(directory) / "run.cast", pathlib.Path(directory) / "run.svg"
        source.write_text(text)
        drawn = subprocess.run([termtosvg, "render", source, target, "-t", TEMPLATE, "-D", "1"], capture_output=True, text=True)
        if drawn.returncode:
            raise Failed(drawn.stderr.strip())
        svg = target.read_text()
    if "<script" in svg:
        raise Failed("the picture contains a script, which does not run where a page shows it as an image")
    if len(svg) > MOST_BYTES:
        raise Failed(f"the picture has {len(svg)} bytes, more than {MOST_BYTES}")
    return svg


def compare(printed):
    """Fails if it is not the recording."""
    lines = plain(printed).splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith(FIRST)), len(lines))
    got = [normal(line) for line in lines[first:]]
    wanted = [normal(line) for line in shown(CAST.read_text())]
    wanted = wanted[:next(number for number, line in enumerate(wanted) if line.startswith(AFTER_ONCE))]
    for number in range(max(len(got), len(wanted))):
        pair = [lines[number] if number < len(lines) else "(nothing)" for lines in (got, wanted)]
        if pair[0] != pair[1]:
            raise Failed(f"make run prints\n  {pair[0]}\nwhere {CAST.relative_to(ROOT)} shows\n  {pair[1]}\nIf that is intended, run make recording.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["record", "draw", "check", "compare"])
    parser.add_argument("file", nargs="?", type=pathlib.Path)
    parser.add_argument("--termtosvg", default=ROOT / "target/pictures-venv/bin/termtosvg")
    options = parser.parse_args()
    try:
        if options.what == "record":
            CAST.write_text(cast(run()))
        if options.what in ("record", "draw"):
            SVG.write_text(draw(options.termtosvg, CAST.read_text()))
        elif options.what == "check" and (SVG.read_text() if SVG.exists() else None) != draw(options.termtosvg, CAST.read_text()):
            raise Failed(f"{SVG.relative_to(ROOT)} does not match {CAST.relative_to(ROOT)}: run make recording")
        elif options.what == "compare":
            compare(options.file.read_text())
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
