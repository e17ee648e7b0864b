"""Renders the chart in deploy/kubernetes, in the environment that has Helm; see `test_kits.py`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import helm_python

DEPLOY = Path(__file__).parents[2] / "deploy"


def render(values: dict[str, object]) -> str:
    """The chart, as Kubernetes gets it."""
    with helm_python.Chart.load(str(DEPLOY / "kubernetes" / "chart")) as chart:
        rendered: dict[str, str] = chart.render(values=values, name="demo")
    parts = [text.strip() for _, text in sorted(rendered.items()) if text.strip()]
    return "\n---\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render(json.loads(sys.argv[1])))
