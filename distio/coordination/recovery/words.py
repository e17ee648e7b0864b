"""The loss of a worker, in words."""

from __future__ import annotations

from distio.protocol.messages import LossReported

__all__ = ["describe_loss"]


def describe_loss(report: LossReported, *, of_calls: bool = False) -> str:
    """One line for the loss of a worker.

    Args:
        report: what was lost.
        of_calls: whether its fibers have made calls for somebody who knows of no fibers.

    >>> places = [("worker 3 (process 9 on a)", 2)]
    >>> lost = LossReported("worker 2 (process 8 on a)", "killed by SIGKILL", 1, 1, 0, 0, places)
    >>> print(describe_loss(lost)[:87])
    worker 2 (process 8 on a) was lost: killed by SIGKILL; of its 2 fibers 1 goes on from i
    """
    placed = ", ".join(f"{count} at {member}" for member, count in report.places)
    took = f"{_time(report.seconds)} after it was seen"
    if report.is_late:
        rest = "which have ended with their runs" if not placed else f"{placed}, {took}"
        gone = "has left" if report.has_left else "was lost"
        what = "calls" if of_calls else "fibers"
        return f"the {what} of {report.worker}, which {gone}, have places again: {rest}"
    count = report.again + report.saved + report.lost
    parts = [
        _part(report.saved, "goes on from its snapshot", "go on from their snapshots"),
        _part(report.again, "begins again", "begin again"),
        _part(report.lost, "is lost", "are lost"),
    ]
    said = ", ".join(part for part in parts if part)
    one, more = ("packet of calls", "packets of calls") if of_calls else ("fiber", "fibers")
    fibers = f"its only {one}" if count == 1 else f"its {count} {more}"
    how = report.reason if report.has_left else f"was lost: {report.reason}"
    text = f"{report.worker} {how}; of {fibers} {said}"
    if placed:
        text += f" ({placed}, {took})"
    if report.waiting:
        text += f"; {_part(report.waiting, 'waits for a worker', 'wait for a worker')}"
    return text


def _part(count: int, one: str, more: str) -> str:
    if not count:
        return ""
    return f"{count} {one if count == 1 else more}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:.1f} s"
