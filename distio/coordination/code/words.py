"""Workers whose code is another, in words."""

from __future__ import annotations

from typing import Final

from distio.protocol.messages.code import CodeReported

__all__ = ["describe_code"]

_MOST_NAMED: Final = 3
_WHAT_TO_DO: Final = (
    "start a worker with the code of before, or one with --accept-changed-code, or give what "
    "stands in for the old code (distio.stands_in_for)"
)


def describe_code(report: CodeReported) -> str:
    """One line for the fibers that a worker doesn't take.

    >>> print(describe_code(CodeReported("worker 2", ["shop.pay has changed"])))
    worker 2 has other code, and takes no fibers that need this: shop.pay has changed
    """
    named = report.differences[:_MOST_NAMED]
    others = len(report.differences) - len(named)
    what = "; ".join(named) + (f"; and {others} more" if others else "")
    if report.worker:
        return f"{report.worker} has other code, and takes no fibers that need this: {what}"
    count = report.waiting
    waits = "1 fiber waits" if count == 1 else f"{count} fibers wait"
    return f"{waits} for a worker with the same code, and none is there: {what}; {_WHAT_TO_DO}"
