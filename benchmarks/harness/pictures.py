"""An answer as a picture: a bar for each candidate, and a whisker from minimum to maximum."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.asking import Answer
from benchmarks.harness.tables import figure

__all__ = ["draw"]

_SPREAD = 20.0
"""If the longest bar is so many times as long as the shortest, lengths are logarithms."""


def draw(answer: Answer, path: Path) -> bool:
    """Draw it as SVG; return False if nothing was measured."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    shown = [each for each in answer.entries if each.values and each.middle > 0]
    if not shown:
        return False
    # text stays text, and the same figures are the same file
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "distio", "font.size": 9})
    names = [each.name for each in shown]
    middles = [each.middle for each in shown]
    low = [max(each.middle - min(each.values), 0) for each in shown]
    high = [max(each.values) - each.middle for each in shown]
    drawing, axes = pyplot.subplots(figsize=(7, 0.7 + 0.32 * len(shown)), layout="constrained")
    colours = ["#3f51b5" if each.candidate.of == "distio" else "#b0bec5" for each in shown]
    bars = axes.barh(names, middles, xerr=[low, high], color=colours, ecolor="#455a64", capsize=2)
    axes.bar_label(bars, [figure(each) for each in middles], padding=4)
    is_wide = max(middles) > _SPREAD * min(middles)
    if is_wide:
        axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.set_xlabel(f"{answer.question.unit}, logarithmic" if is_wide else answer.question.unit)
    axes.spines[["top", "right"]].set_visible(False)
    drawing.savefig(path, metadata={"Date": None})
    pyplot.close(drawing)
    return True
