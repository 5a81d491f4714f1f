"""The shipped dashboard, and what was recorded for its picture."""

import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "envoy/grafana/sidecast.json"
DATA = ROOT / "docs/images/dashboard.json"


def shipped():
    """The dashboard."""
    return json.loads(SHIPPED.read_text())


def queries(board):
    """Each query once, in the order of the panels; last those of annotations."""
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    return list(dict.fromkeys(panels + [one["expr"] for one in board["annotations"]["list"] if "expr" in one]))


def filled(query, variables):
    """The query as Grafana sends it. Longer names first: $instance is no $in."""
    for name in sorted(variables, key=len, reverse=True):
        query = query.replace(f"${name}", variables[name])
    return query
