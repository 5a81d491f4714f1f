#!/usr/bin/env python3
"""stage-site.py BOOK: the documents as mdBook wants them, in the folder BOOK.

The pages keep their places, so that links between them hold; the files that they link to come along, and a folder becomes a list of its
files. docs/README.md is the table of contents: its tables and lists say which page comes where, under its headings.
"""

import html
import os
import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
CONTENTS = "docs/README.md"
# At the end, unless the table of contents has them elsewhere.
PROJECT = ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]

FENCE = re.compile(r"^([\s>]*)(`{3,}|~{3,})\s*(\S*)")
CODE = re.compile(r"(`+[^`]+`+)")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)[^)]*\)")
# Where a destination stands: a link, a reference, HTML.
DESTINATION = re.compile(r"""(\]\(|^\[[^\]]+\]:\s+|\b(?:href|src|srcset)=["'])([^)\s"']+)""")
ELSEWHERE = re.compile(r"^([a-z][a-z0-9+.-]*:|#|//)", re.I)


def all_pages():
    found = [ROOT / "README.md", *(ROOT / name for name in PROJECT)]
    found += [*sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "envoy").rglob("README.md"))]
    return [str(path.relative_to(ROOT)) for path in found]


def built(page):
    """What mdBook calls the page."""
    path = pathlib.PurePosixPath(page)
    return str(path.with_name("index.html") if path.name == "README.md" else path.with_suffix(".html"))


def plain(markdown):
    return re.sub(r"[`*\[\]\\]", "", LINK.sub(r"\1", markdown)).strip()


def prose(text):
    """The lines of a page: number, line, and whether it is text (and no code)."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if fence is None and match:
            fence = match[2]
            yield number, match, False
        elif fence is not None:
            if match and match[2].startswith(fence) and not match[3]:
                fence = None
            yield number, line, False
        else:
            yield number, line, True


def title(page, text):
    for _, line, is_text in prose(text):
        heading = is_text and HEADING.match(line)
        if heading and len(heading[1]) == 1:
            return plain(heading[2])
    return page


class Site:
    def __init__(self, book):
        self.book = book
        self.source = book / "src"
        self.pages = {page: (ROOT / page).read_text() for page in all_pages()}
        self.files = set()
        self.folders = set()
        self.problems = []

    def resolve(self, page, path):
        return os.path.normpath(os.path.join(os.path.dirname(page), path))

    def destination(self, page, number, link):
        """Where a link of the page leads in the site. What it leads to is remembered."""
        if ELSEWHERE.match(link):
            return link
        path, mark, anchor = link.partition("#")
        target = self.resolve(page, path)
        there = ROOT / target
        if target in self.pages:
            path = str(pathlib.PurePosixPath(path).with_name(os.path.basename(built(target))))
        elif target.startswith("..") or not there.exists():
            self.problems.append(f"{page}:{number}: {link}: there is no {target}")
        elif there.is_dir():
            if f"{target}/README.md" not in self.pages:
                self.folders.add(target)
            path = f"{path.rstrip('/')}/index.html"
        else:
            self.files.add(target)
        return path + mark + anchor

    def page(self, page):
        """The page with the links of the site, and with fences that say the language and nothing else."""
        lines = []
        for number, line, is_text in prose(self.pages[page]):
            if not is_text:
                lines.append(line if isinstance(line, str) else line[1] + line[2] + line[3])
                continue
            # Every second part is code.
            parts = CODE.split(line)
            parts[::2] = [DESTINATION.sub(lambda match: match[1] + self.destination(page, number, match[2]), part) for part in parts[::2]]
            lines.append("".join(parts))
        return "\n".join(lines) + "\n"

    def listed(self):
        """The groups of the table of contents: heading, and pages with their titles."""
        groups = [["", []]]
        seen = {"README.md", CONTENTS}
        for _, line, is_text in prose(self.pages[CONTENTS]):
            heading = is_text and HEADING.match(line)
            if heading and len(heading[1]) > 1:
                groups.append([plain(heading[2]), []])
            if not is_text or not re.match(r"\s*(\||[-*+] |\d+\. )", line):
                continue
            # In a table the first cell that has links is the one; others only speak of pages.
            cells = [LINK.findall(cell) for cell in (line.strip().strip("|").split("|") if "|" in line[:1] else [line])]
            for text, link in next((links for links in cells if links), []):
                page = self.resolve(CONTENTS, link.partition("#")[0])
                if page in self.pages and page not in seen:
                    seen.add(page)
                    groups[-1][1].append((plain(text) if not text.strip("`").endswith(".md") else title(page, self.pages[page]), page))
        rest = [page for page in PROJECT if page not in seen]
        if rest:
            groups.append(["Project", [(title(page, self.pages[page]), page) for page in rest]])
        self.problems += [f"{page}: {CONTENTS} does not list it" for page in self.pages if page not in seen and page not in rest]
        return [group for group in groups if group[1]]

    def summary(self):
        lines = ["# Summary", "", "[Sidecast](README.md)", f"[{title(CONTENTS, self.pages[CONTENTS])}]({CONTENTS})"]
        for heading, pages in self.listed():
            lines += ["", *([f"# {heading}", ""] if heading else []), *(f"- [{name}]({page})" for name, page in pages)]
        return "\n".join(lines) + "\n"

    def folder(self, folder):
        """A folder that is no page is the list of its files."""
        names = []
        for path, folders, files in os.walk(ROOT / folder):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in ("target", "__pycache__"))
            names += [os.path.relpath(os.path.join(path, name), ROOT / folder) for name in sorted(files) if not name.startswith(".")]
        self.files |= {f"{folder}/{name}" for name in names}
        items = "\n".join(f'<li><a href="{html.escape(name)}">{html.escape(name)}</a></li>' for name in names)
        style = "body { font: 1rem/1.6 sans-serif; margin: 2rem; overflow-wrap: anywhere; } :root { color-scheme: light dark; }"
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(folder)}</title><style>{style}</style>'
        home = os.path.relpath("index.html", folder)
        body = f'<p><a href="{home}">Sidecast</a></p>\n<h1>{html.escape(folder)}</h1>\n<ul>\n{items}\n</ul>'
        self.write(f"{folder}/index.html", f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n')

    def write(self, name, text):
        file = self.source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def stage(self):
        shutil.rmtree(self.book, ignore_errors=True)
        shutil.copytree(ROOT / "docs/site", self.book)
        self.write("SUMMARY.md", self.summary())
        for page in self.pages:
            self.write(page, self.page(page))
        for folder in sorted(self.folders):
            self.folder(folder)
        for name in self.files:
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, self.source / name)
        expected = {*map(built, self.pages), *self.files, *(f"{folder}/index.html" for folder in self.folders)}
        (self.book / "expected").write_text("".join(f"{name}\n" for name in sorted(expected)))
        return self.problems


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    problems = Site(pathlib.Path(sys.argv[1])).stage()
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)
