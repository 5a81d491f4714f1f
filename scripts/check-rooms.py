"""Checks that imports between the rooms of src/ go one way, and that unsafe code stands in one of them. Prints the imports.

A file belongs to the room that its folder names. Tests may use any room: what they test with is often made by rooms above.
"""

import pathlib
import re
import sys

SRC = pathlib.Path(__file__).resolve().parent.parent / "src"
# From the bottom. A room may use those before it.
ROOMS = ["http", "json", "template", "select", "rewrite", "delivery", "compare", "observe", "policy", "config", "engine", "filter"]
UNSAFE = "filter"
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))? )?mod (\w+)\s*([;{])")
# A path, or a list of paths, and the first name of each.
PATH = re.compile(r"\bcrate::(\{[^}]*\}|\w+)")
FIRST = re.compile(r"(?:^|[{,]\s*)(\w+)")


def of_tests(path):
    """The files of modules that a file declares for tests alone."""
    stem = path.parent if path.name == "mod.rs" else path.with_suffix("")
    modules = [name for name, end in TEST_MODULE.findall(path.read_text()) if end == ";"]
    return {file for name in modules for file in [stem / f"{name}.rs", *(stem / name).rglob("*.rs")]}


def code(path):
    """A file without comments and without its tests, which stand at its end."""
    text = re.sub(r"//.*", "", path.read_text())
    inline = next((found for found in TEST_MODULE.finditer(text) if found[2] == "{"), None)
    return text[: inline.start()] if inline else text


def main():
    files = [path for path in SRC.rglob("*.rs") if path.relative_to(SRC).parts[0] not in ("bin", "lib.rs")]
    tests = set().union(*(of_tests(path) for path in files))
    problems, imports = [], {}
    for path in sorted(set(files) - tests):
        place = path.relative_to(SRC)
        room = place.parts[0].removesuffix(".rs")
        if room not in ROOMS:
            problems.append(f"src/{place}: not in a room; the rooms are {', '.join(ROOMS)}")
            continue
        text = code(path)
        for other in {name for path in PATH.findall(text) for name in FIRST.findall(path)} - {room}:
            if other in ROOMS[: ROOMS.index(room)]:
                imports.setdefault(room, set()).add(other)
            else:
                problems.append(f"src/{place}: `{room}` uses `{other}`, which is no room below it")
        if room != UNSAFE and re.search(r'\bunsafe\b|extern "C"', text):
            problems.append(f"src/{place}: unsafe code, or a function for the host; both stand in src/{UNSAFE}/ alone")
    for room in reversed(ROOMS):
        print(f"{room:>9} -> {' '.join(sorted(imports.get(room, []), key=ROOMS.index)) or '-'}")
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))


main()
