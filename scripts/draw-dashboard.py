"""Draws docs/images/dashboard.svg and dashboard-dark.svg: the shipped Grafana dashboard, with the data in docs/images/dashboard.json.

Panels, places, titles, units, legends and colours are those of envoy/grafana/sidecast.json. `--check` tells instead whether the data has every query of the
dashboard, and whether the stored pictures are these. There is no Grafana here, so this is drawn as Grafana would, not by it.
"""

import argparse
import datetime
import json
import math
import re
import sys

import dashboard

LIGHT = {
    "page": "#f4f5f5", "panel": "#ffffff", "edge": "#dcdee1", "text": "#24292e", "quiet": "#6a7078", "grid": "#eceef0", "chip": "#ffffff",
    "green": "#1b855e", "yellow": "#c69b06", "orange": "#d9660a", "red": "#d10e4b",
    "series": ["#56a64b", "#e0b400", "#3274d9", "#ff780a", "#e02f44", "#8f3bb8", "#19730e", "#1f60c4", "#b877d9", "#7c2ea3", "#96d98d", "#ffb357", "#8ab8ff", "#c4162a", "#705da0"],
}
DARK = {
    "page": "#111217", "panel": "#181b1f", "edge": "#2c3036", "text": "#ccccdc", "quiet": "#9a9aa8", "grid": "#24272c", "chip": "#1f2227",
    "green": "#73bf69", "yellow": "#f2cc0c", "orange": "#ff9830", "red": "#f2495c",
    "series": ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#37872d", "#8ab8ff", "#ca95e5", "#8f3bb8", "#c8f2c2", "#ffcb7d", "#c0d8ff", "#c4162a", "#a352cc"],
}
WIDTH, ROW, GAP, HEAD = 1000, 26, 7, 78
COLUMN = (WIDTH - GAP) / 24
FONT = "Inter, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
# What a letter is wide, of the font's size: in the widest of these fonts, so that all have room.
LETTER = 0.6
MOST_BYTES = 300 << 10


def escaped(text):
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def trimmed(number):
    return f"{number:.1f}".removesuffix(".0")


def figure(number, decimals=None):
    """A number with few digits."""
    if decimals is None:
        decimals = 0 if number == 0 or abs(number) >= 100 else 1 if abs(number) >= 10 else 2 if abs(number) >= 0.1 else 3
        return re.sub(r"(\.\d*?)0+$", r"\1", f"{number:.{decimals}f}").removesuffix(".") if decimals else f"{number:.0f}"
    return f"{number:.{decimals}f}"


def value(number, unit, decimals=None):
    """A number and its unit, as Grafana writes them."""
    if number is None:
        return "-"
    if unit == "percentunit":
        return f"{figure(number * 100, decimals)}%"
    if unit == "ms":
        return f"{figure(number / 1000, decimals)} s" if abs(number) >= 1000 else f"{figure(number, decimals)} ms"
    if unit == "bytes":
        for name in ("B", "KiB", "MiB"):
            if abs(number) < 1024 or name == "MiB":
                return f"{figure(number, decimals)} {name}"
            number /= 1024
    for name in ("", "K", "Mil"):
        if abs(number) < 1000 or name == "Mil":
            break
        number /= 1000
    short = f"{figure(number, decimals)} {name}".strip()
    return short + {"reqps": " req/s", "ops": " ops/s"}.get(unit, "")


def legend(form, labels):
    """The name of a series."""
    if form is None:
        return "Value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), form).strip()


def ticks(low, high, most=5):
    """Round numbers between two numbers, both included."""
    span = high - low or 1
    step = 10 ** math.floor(math.log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= most)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


class Picture:
    """One of the two pictures."""

    def __init__(self, board, data, colours):
        self.board, self.data, self.colours = board, data, colours
        self.answers = {answer["query"]: answer["series"] for answer in data["answers"]}
        self.start = datetime.datetime.fromisoformat(data["recorded"])
        self.count = max(len(series["values"]) for series in sum(self.answers.values(), []))
        self.out = []
        self.openings = self.find_openings()

    def find_openings(self):
        """When an annotation begins, by the number of its sample."""
        found = []
        for annotation in self.board["annotations"]["list"]:
            for series in self.answers.get(annotation.get("expr"), []):
                values = [None, *series["values"]]
                found += [number for number in range(self.count) if values[number] is None and values[number + 1] is not None]
        return sorted(set(found))

    def put(self, element):
        self.out.append(element)

    def text(self, x, y, text, size=11, colour="text", anchor="", bold=False, room=None):
        if room and len(text) * size * LETTER > room:
            text = text[:max(1, int(room / size / LETTER) - 1)] + "…"
        anchor = f' text-anchor="{anchor}"' if anchor else ""
        weight = ' font-weight="600"' if bold else ""
        self.put(f'<text x="{trimmed(x)}" y="{trimmed(y)}" font-size="{size}" fill="{self.colours.get(colour, colour)}"{anchor}{weight}>{escaped(text)}</text>')

    def box(self, x, y, width, height, fill, edge=None, radius=3):
        stroke = f' stroke="{self.colours.get(edge, edge)}"' if edge else ""
        self.put(f'<rect x="{trimmed(x)}" y="{trimmed(y)}" width="{trimmed(width)}" height="{trimmed(height)}" rx="{radius}" fill="{self.colours.get(fill, fill)}"{stroke}/>')

    def draw(self):
        places = [panel["gridPos"] for panel in self.board["panels"]]
        height = HEAD + max(place["y"] + place["h"] for place in places) * ROW + GAP
        title = f"{self.board['title']}: the shipped Grafana dashboard with the data of {self.minutes():.0f} minutes"
        self.put(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="{FONT}" role="img" aria-label="{escaped(title)}">')
        self.put(f'<rect width="{WIDTH}" height="{height}" rx="6" fill="{self.colours["page"]}"/>')
        self.draw_head()
        for panel in self.board["panels"]:
            self.draw_panel(panel)
        self.put("</svg>")
        return "\n".join(self.out) + "\n"

    def minutes(self):
        return (self.count - 1) * self.data["step_s"] / 60

    def at(self, number):
        """The time of a sample."""
        return self.start + datetime.timedelta(seconds=number * self.data["step_s"])

    def draw_head(self):
        self.text(14, 26, f"Dashboards  ›  {self.board['title']}", 15, bold=True)
        span = f"{self.at(0):%Y-%m-%d %H:%M} to {self.at(self.count - 1):%H:%M} UTC"
        width = len(span) * 11 * LETTER + 22
        self.box(WIDTH - GAP - width, 10, width, 24, "chip", "edge")
        self.text(WIDTH - GAP - width / 2, 26, span, 11, anchor="middle")
        x = 14
        for variable in self.board["templating"]["list"]:
            name, chosen = variable.get("label") or variable["name"], "All" if variable.get("includeAll") else "Prometheus"
            name_width, chosen_width = len(name) * 11 * LETTER + 20, len(chosen) * 11 * LETTER + 28
            self.box(x, 44, name_width, 24, "chip", "edge")
            self.text(x + name_width / 2, 60, name, 11, anchor="middle", bold=True)
            self.box(x + name_width, 44, chosen_width, 24, "chip", "edge")
            self.text(x + name_width + 9, 60, chosen, 11)
            self.text(x + name_width + chosen_width - 14, 60, "▾", 10, "quiet")
            x += name_width + chosen_width + 10

    def draw_panel(self, panel):
        place = panel["gridPos"]
        x, y = GAP + place["x"] * COLUMN, HEAD + place["y"] * ROW
        width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        if panel["type"] == "row":
            self.text(x + 6, y + 17, f"▾  {panel['title']}", 13, bold=True)
            return
        self.box(x + 0.5, y + 0.5, width - 1, height - 1, "panel", "edge")
        self.text(x + 9, y + 17, panel["title"], 11.5, bold=True, room=width - 18)
        series = [
            (legend(target.get("legendFormat"), one["labels"]), one["values"])
            for target in panel["targets"] for one in self.answers[target["expr"]]
        ]
        {"stat": self.draw_stat, "timeseries": self.draw_lines, "state-timeline": self.draw_states}[panel["type"]](panel, series, x, y, width, height)

    def colour_of(self, number, steps):
        """The colour of a value, by thresholds."""
        return [step["color"] for step in steps if step["value"] is None or number >= step["value"]][-1]

    def draw_stat(self, panel, series, x, y, width, height):
        defaults = panel["fieldConfig"]["defaults"]
        values = series[0][1] if series else []
        known = [number for number in values if number is not None]
        if not known:
            self.text(x + width / 2, y + height / 2 + 8, "No data", 14, "quiet", "middle")
            return
        colour = self.colours[self.colour_of(known[-1], defaults["thresholds"]["steps"])]
        low, high = min(known), max(known)
        top, bottom = y + height * 0.62, y + height - 1
        if high > low:
            points = [(x + 1 + (width - 2) * number / (len(values) - 1), bottom - (bottom - top) * (one - low) / (high - low)) for number, one in enumerate(values) if one is not None]
            line = "L".join(f"{trimmed(left)} {trimmed(down)}" for left, down in points)
            self.put(f'<path d="M{line}L{trimmed(points[-1][0])} {trimmed(bottom)}L{trimmed(points[0][0])} {trimmed(bottom)}Z" fill="{colour}" fill-opacity="0.15"/>')
            self.put(f'<path d="M{line}" fill="none" stroke="{colour}"/>')
        shown = value(known[-1], defaults["unit"], defaults.get("decimals"))
        number, _, unit = shown.partition(" ")
        size = 25 if width > 120 else 23
        self.text(x + width / 2 - len(unit) * 6, y + 52, number, size, colour, "middle", bold=True)
        if unit:
            self.text(x + width / 2 - len(unit) * 6 + len(number) * size * 0.3 + 4, y + 52, unit, 14, colour, bold=True)

    def frame(self, x, y, width, height, low, high, unit, marks=True):
        """Axes; where a sample and a value stand."""
        factor = 1024 ** min(2, int(math.log(max(high, 1), 1024))) if unit == "bytes" else 1
        steps = [one * factor for one in ticks(low / factor, high / factor, 4)]
        low, high = steps[0], steps[-1]
        labels = [value(one, unit) for one in steps]
        left = x + 12 + max(map(len, labels)) * 10 * LETTER
        right, top, bottom = x + width - 12, y + 30, y + height - 22

        def across(number):
            return left + (right - left) * number / (self.count - 1)

        def down(one):
            return bottom - (bottom - top) * (one - low) / (high - low)

        for one, label in zip(steps, labels):
            self.put(f'<path d="M{trimmed(left)} {trimmed(down(one))}H{trimmed(right)}" stroke="{self.colours["grid"]}"/>')
            self.text(left - 5, down(one) + 3.5, label, 10, "quiet", "end")
        self.draw_times(across, top, bottom, right - left)
        if marks:
            for number in self.openings:
                self.put(f'<path d="M{trimmed(across(number))} {trimmed(top)}V{trimmed(bottom)}" stroke="{self.colours["red"]}" stroke-dasharray="3 3" stroke-opacity="0.7"/>')
                self.put(f'<path d="M{trimmed(across(number) - 3.5)} {trimmed(bottom + 5)}h7l-3.5 -5Z" fill="{self.colours["red"]}"/>')
        return across, down

    def draw_times(self, across, top, bottom, room):
        step = next(minutes for minutes in (1, 2, 3, 5, 10) if self.minutes() / minutes * 34 <= room)
        for number in range(self.count):
            at = self.at(number)
            begins = number == 0 or self.at(number - 1).minute != at.minute
            has_room = number + 1 < self.count - 12 / room * self.count
            if begins and at.minute % step == 0 and at.second < self.data["step_s"] and has_room:
                self.put(f'<path d="M{trimmed(across(number))} {trimmed(top)}V{trimmed(bottom)}" stroke="{self.colours["grid"]}"/>')
                self.text(across(number), bottom + 15, f"{at:%H:%M}", 10, "quiet", "middle")

    def draw_lines(self, panel, series, x, y, width, height):
        defaults, shown = panel["fieldConfig"]["defaults"], panel["options"]["legend"]
        series = [(name, values, self.colours["series"][number % len(self.colours["series"])]) for number, (name, values) in enumerate(series)]
        known = [one for _, values, _ in series for one in values if one is not None]
        if not known:
            self.text(x + width / 2, y + height / 2 + 8, "No data", 14, "quiet", "middle")
            return
        at_right = shown["placement"] == "right"
        table_width = (0.42 if width > 400 else 0.54) * width if at_right else width - 16
        rows = min(len(series), 5) if not at_right else min(len(series), int((height - 46) / 14))
        table_height = 0 if at_right else rows * 14 + 16
        self.draw_legend(
            series, shown["calcs"], defaults, rows,
            *((x + width - table_width - 2, y + 24, table_width - 8) if at_right else (x + 8, y + height - table_height - 4, table_width)))
        plot_width, plot_height = (width - table_width, height) if at_right else (width, height - table_height)
        soft = defaults.get("custom", {})
        low = min([0 if "axisSoftMin" not in soft else soft["axisSoftMin"], *known])
        high = max([*known, soft.get("axisSoftMax", 0)])
        if "max" in defaults:
            high = defaults["max"]
        across, down = self.frame(x, y, plot_width, plot_height, low, high if high > low else low + 1, defaults["unit"])
        for _, values, colour in series:
            path = ""
            points = [None if one is None else f"{trimmed(down(min(one, high)))}" for one in values]
            for number, point in enumerate(points):
                before = points[number - 1] if number else None
                after = points[number + 1] if number + 1 < len(points) else None
                # A line that runs level needs its ends only.
                if point is not None and not before == point == after:
                    path += f"{'M' if before is None else 'L'}{trimmed(across(number))} {point}{'h0.1' if before is after is None else ''}"
            if path:
                self.put(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round"/>')

    def draw_legend(self, series, calcs, defaults, rows, x, y, width):
        names = {"lastNotNull": "Last *", "max": "Max"}
        of = {"lastNotNull": lambda known: known[-1], "max": max}
        figures = []
        for name, values, colour in series:
            known = [one for one in values if one is not None]
            if known:
                figures.append((name, colour, [of[calc](known) for calc in calcs]))
        figures.sort(key=lambda row: -row[2][0])
        texts = [[value(one, defaults["unit"], defaults.get("decimals")) for one in row[2]] for row in figures[:rows]]
        widths = [max([len(names[calc]), *(len(row[number]) for row in texts)]) * 10 * LETTER + 10 for number, calc in enumerate(calcs)]
        # In Grafana one scrolls to see the last columns of a narrow panel.
        while len(calcs) > 1 and width - sum(widths) < 90:
            calcs, widths = calcs[:-1], widths[:-1]
        edges = [x + width - sum(widths[number + 1:]) for number in range(len(calcs))]
        for calc, edge in zip(calcs, edges):
            self.text(edge, y + 10, names[calc], 10, "quiet", "end", bold=True)
        for number, ((name, colour, _), row) in enumerate(zip(figures, texts)):
            down = y + 24 + 14 * number
            self.box(x, down - 5, 10, 3, colour, radius=1)
            self.text(x + 14, down, name, 10, room=width - sum(widths) - 8)
            for edge, text in zip(edges, row):
                self.text(edge, down, text, 10, anchor="end")

    def draw_states(self, panel, series, x, y, width, height):
        defaults = panel["fieldConfig"]["defaults"]
        states = next(mapping["options"] for mapping in defaults["mappings"] if mapping["type"] == "value")
        left = x + 14 + max([len(name) for name, _ in series] or [0]) * 10 * LETTER
        right, top, bottom = x + width - 12, y + 30, y + height - 46

        def across(number):
            return left + (right - left) * number / (self.count - 1)

        if not series:
            self.text(x + width / 2, y + height / 2 + 8, defaults.get("noValue", "No data"), 14, "quiet", "middle")
            return
        self.draw_times(across, top, bottom, right - left)
        each = (bottom - top) / len(series)
        for row, (name, values) in enumerate(series):
            middle, high = top + each * (row + 0.5), min(each * 0.8, 34)
            self.text(left - 6, middle + 3.5, name, 10, "quiet", "end")
            begin = 0
            for number in range(1, len(values) + 1):
                if number == len(values) or values[number] != values[begin]:
                    if values[begin] is not None:
                        end = min(number, len(values) - 1)
                        self.box(across(begin), middle - high / 2, across(end) - across(begin), high, self.colours[states[f"{values[begin]:g}"]["color"]], radius=1)
                    begin = number
        at = x + 12
        for state in states.values():
            self.box(at, y + height - 17, 10, 3, state["color"], radius=1)
            self.text(at + 14, y + height - 12, state["text"], 10)
            at += 30 + len(state["text"]) * 10 * LETTER


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a stored picture is another")
    options = parser.parse_args()
    board, data = dashboard.shipped(), json.loads(dashboard.DATA.read_text())
    wanted, stored = dashboard.queries(board), [answer["query"] for answer in data["answers"]]
    if wanted != stored:
        for query in [*[one for one in wanted if one not in stored], *[one for one in stored if one not in wanted]] or ["(another order)"]:
            print(f"  {query}", file=sys.stderr)
        print("error: the queries of envoy/grafana/sidecast.json differ from docs/images/dashboard.json: run make dashboard-picture", file=sys.stderr)
        return 1
    status = 0
    for name, colours in {"dashboard.svg": LIGHT, "dashboard-dark.svg": DARK}.items():
        svg, path = Picture(board, data, colours).draw(), dashboard.DATA.parent / name
        if len(svg.encode()) > MOST_BYTES:
            print(f"error: docs/images/{name} has {len(svg.encode())} bytes, more than {MOST_BYTES}", file=sys.stderr)
            status = 1
        if not options.check:
            path.write_text(svg)
        elif (path.read_text() if path.exists() else None) != svg:
            print(f"error: docs/images/{name} does not match the dashboard and its data: run make dashboard-picture DRAW=1", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
