"""Draws docs/images/NAME.d2 as NAME.svg, for light pages, and NAME-dark.svg, for dark ones; `--check` tells instead whether the stored ones are these.

D2 lays out and draws. What is left to do here: the colours (docs/images/parts), a name for screen readers, and to leave out what nobody sees.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs/images"
PALETTES = {"light": "", "dark": "-dark"}
# More would be too much for a page.
MOST_BYTES = 60 << 10


class Failed(Exception):
    """Says to the user why there is no picture."""


def name(source):
    """What the picture shows, in words: the first comment of its source."""
    found = re.match(r"# (.+)\n", source)
    if not found:
        raise Failed("the first line must be a comment that says what the picture shows")
    return found[1]


def draw(d2, path, palette):
    """The picture in this file, with the colours of a palette, as SVG."""
    source = path.read_text()
    # Beside the others, so that imports are found.
    with tempfile.TemporaryDirectory() as directory:
        whole = pathlib.Path(directory) / path.name
        (pathlib.Path(directory) / "parts").symlink_to(IMAGES / "parts")
        whole.write_text(f"...@parts/{palette}\n...@parts/style\n{source}")
        drawn = subprocess.run([d2, "--omit-version", "--no-xml-tag", whole, "-"], capture_output=True, text=True)
    if drawn.returncode:
        raise Failed(drawn.stderr.replace(f"{directory}/", "").strip())
    return tidy(drawn.stdout, name(source))


def tidy(svg, about):
    """The same picture, with its size and a name, without shapes and styles that show nothing."""
    about = about.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    width, height = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups()
    svg = re.sub(r"<svg [^>]*>", f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{about}">', svg, count=1)
    # Shapes that only keep a place.
    svg = re.sub(r'<g class="shape" ><rect [^>]*fill="transparent"[^>]*/></g>', "", svg)
    svg = re.sub(r'<rect [^>]*fill="transparent"[^>]*/>', "", svg)
    svg = re.sub(r'<g class="[^"]*"></g>', "", svg)
    # Styles of Markdown and code, of which there is none.
    svg = re.sub(r"\.appendix text\.text\{.*?(?=\]\]>)", "", svg, flags=re.DOTALL)
    # One element a line, so that changes can be read.
    svg = svg.replace("<g class=", "\n<g class=").replace("<style", "\n<style").replace("</svg></svg>", "\n</svg></svg>\n")
    return re.sub(r"[ \t]+\n", "\n", svg)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d2", required=True, help="path of the d2 binary")
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a stored picture is another")
    options = parser.parse_args()

    wanted, problems = {}, []
    for path in sorted(IMAGES.glob("*.d2")):
        for palette, suffix in PALETTES.items():
            try:
                svg = draw(options.d2, path, palette)
            except Failed as failed:
                problems.append(f"{path.relative_to(ROOT)}: {failed}")
                continue
            if len(svg) > MOST_BYTES:
                problems.append(f"{path.relative_to(ROOT)}: the picture has {len(svg)} bytes, more than {MOST_BYTES}")
            wanted[IMAGES / f"{path.stem}{suffix}.svg"] = svg
    for path, svg in wanted.items():
        if not options.check:
            path.write_text(svg)
        elif (path.read_text() if path.exists() else None) != svg:
            problems.append(f"{path.relative_to(ROOT)} is not what {path.stem.removesuffix('-dark')}.d2 says: run make pictures")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
