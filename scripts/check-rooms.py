"""Checks that imports between the rooms of src/ go one way, that inside a room at most one group of modules imports in a circle, and that
unsafe code stands in one room. Prints the imports; with --mermaid as a drawing, modules included.

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
USE = re.compile(r"\b(pub(?:\([^)]*\))? )?use ([^;]+);")


def of_tests(path):
    """The files of modules that a file declares for tests alone."""
    stem = path.parent if path.name == "mod.rs" else path.with_suffix("")
    modules = [name for name, end in TEST_MODULE.findall(path.read_text()) if end == ";"]
    return {file for name in modules for file in [stem / f"{name}.rs", *(stem / name).rglob("*.rs")]}


def code(path):
    """A file without comments and without its tests, which stand at its end."""
    text = re.sub(r"//.*", "", path.read_text())
    inline = next((found for found in TEST_MODULE.finditer(text) if found[2] == "{"), None)
    return re.sub(r"\s+", " ", text[: inline.start()] if inline else text)


def module(path):
    """The path of a file's module, such as ("engine", "mirror")."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return parts[:-1] if parts[-1] == "mod" else parts


def leaves(tree, before=()):
    """The paths that a `use` names."""
    head, brace, rest = tree.strip().partition("{")
    names = tuple(name.strip() for name in re.sub(r" as \w+", "", head).split("::") if name.strip())
    if not brace:
        return [before + names]
    depth, start, found = 0, 0, []
    inner = rest.rstrip()[:-1] + ","
    for end, char in enumerate(inner):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            if inner[start:end].strip():
                found += leaves(inner[start:end], before + names)
            start = end + 1
    return found


def uses(me, text, modules):
    """Absolute paths that the text of a module names, and whether it passes them on."""
    named = [(bool(public), path) for public, tree in USE.findall(text) for path in leaves(tree)]
    named += [(False, tuple(path.split("::"))) for path in re.findall(r"\b(?:crate|super|self)(?:::\w+)+", USE.sub("", text))]
    for public, path in named:
        base = () if path[0] == "crate" else me if path[0] in ("self", "super") or me + path[:1] in modules else None
        if base is not None:
            while path and path[0] in ("crate", "self", "super"):
                base, path = base[:-1] if path[0] == "super" else base, path[1:]
            yield public, base + path


def graph(texts):
    """The modules that each module uses. What a module only passes on is that of the module where it comes from."""
    found = {me: list(uses(me, text, texts)) for me, text in texts.items()}
    passed_on = {me + path[-1:]: path for me in found for public, path in found[me] if public}

    def owner(path):
        for _ in range(5):
            known = next((path[:size] for size in range(len(path), 0, -1) if path[:size] in passed_on), path)
            path = passed_on.get(known, path) + path[len(known) :]
        return next((path[:size] for size in range(len(path), 0, -1) if path[:size] in texts), None)

    return {me: {owner(path) for public, path in found[me] if not public} - {me, None} for me in texts}


def circles(edges):
    """Groups of modules that reach one another."""

    def reached(start):
        seen, todo = set(), [start]
        while todo:
            new = edges[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reach = {node: reached(node) for node in edges}
    return {frozenset(other for other in reach[node] if node in reach[other]) for node in edges if node in reach[node]}


def name(module):
    return "::".join(module)


def mermaid(edges):
    """A drawing: a box for each room, an arrow for each import inside it, and one for all imports from a room to another."""
    lines = ["flowchart TD"]
    for room in reversed(ROOMS):
        lines.append(f"  subgraph {room}")
        lines += [f'    {"_".join(me)}["{name(me[1:]) or room}"]' for me in sorted(edges) if me[0] == room]
        lines.append("  end")
    inside = {(me, other) for me in edges for other in edges[me] if me[0] == other[0]}
    lines += [f'  {"_".join(me)} --> {"_".join(other)}' for me, other in sorted(inside)]
    between = {(me[0], other[0]) for me in edges for other in edges[me] if me[0] != other[0]}
    return "\n".join(lines + [f"  {room} ==> {other}" for room, other in sorted(between)])


def main():
    files = [path for path in SRC.rglob("*.rs") if path.relative_to(SRC).parts[0] not in ("bin", "lib.rs")]
    tests = set().union(*(of_tests(path) for path in files))
    texts = {module(path): code(path) for path in sorted(set(files) - tests)}
    problems = [f"src/{'/'.join(me)}: not in a room; the rooms are {', '.join(ROOMS)}" for me in texts if me[0] not in ROOMS]
    edges = graph({me: text for me, text in texts.items() if me[0] in ROOMS})
    for me in edges:
        for room in sorted({other[0] for other in edges[me]} - set(ROOMS[: ROOMS.index(me[0]) + 1])):
            problems.append(f"`{name(me)}` uses `{room}`, which is not a room below it")
        if me[0] != UNSAFE and re.search(r'\bunsafe\b|extern "C"', texts[me]):
            problems.append(f"`{name(me)}`: unsafe code, or a function for the host; both are allowed only in src/{UNSAFE}/")
    found = circles(edges)
    for room in ROOMS:
        inside = [" ".join(sorted(map(name, circle))) for circle in found if all(me[0] == room for me in circle)]
        if len(inside) > 1:
            problems.append(f"src/{room}: {len(inside)} import cycles, expected at most one: " + "; ".join(inside))
    if "--mermaid" in sys.argv:
        print(mermaid(edges))
    else:
        for room in reversed(ROOMS):
            others = {other[0] for me in edges if me[0] == room for other in edges[me]} - {room}
            circle = "".join(f" (circle: {' '.join(sorted(map(name, c)))})" for c in found if next(iter(c))[0] == room)
            print(f"{room:>9} -> {' '.join(sorted(others, key=ROOMS.index)) or '-'}{circle}")
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))


main()
