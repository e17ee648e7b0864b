"""The answers to observers, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from distio.protocol.ids import label_of, name_of
from distio.protocol.messages.overview import FiberTold, LockTold, OverviewTold, RunTold
from distio.protocol.version import VERSION

__all__ = ["LATE", "count_of", "key_of", "line_of_fiber", "lines_of_overview", "shown", "wait_of"]

LATE: Final = "messages too late"
"""By this name, an overview counts the messages that meant nothing any more when they came."""
_HOSTS: Final = frozenset({"worker", "client"})
"""The kinds of members that host fibers."""
_MOST_LOCKS: Final = 20
"""The most locks that are shown."""


def shown(text: str) -> str:
    """A text of another process, without what would command a terminal.

    >>> shown("fetch\\x1b[2J")
    'fetch\\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def key_of(key: int | str) -> str:
    """The name of a lock for people: that of a program has a number.

    >>> key_of("printer"), key_of(1099511627783)
    ('printer', '1.7')
    """
    return shown(key) if isinstance(key, str) else name_of(key)


def lines_of_overview(told: OverviewTold, sort: str = "") -> Iterator[str]:
    """The lines that show people the overview of a cluster.

    Args:
        told: what the coordinator has told.
        sort: the column by which members and runs are sorted, the largest first; empty: as told.
    """
    cluster = told.cluster
    other = "" if cluster.version == VERSION else f"; this is {VERSION}"
    yield f"distio {cluster.version}, protocol {cluster.protocol}{other}"
    yield ""
    head = (
        "MEMBER",
        "NAME",
        "KIND",
        "HOST",
        "PROCESS",
        "THREADS",
        "FIBERS",
        "READY",
        "BLOCKED",
        "SINCE",
    )
    members = [
        (
            *(str(each.id), shown(each.name), each.kind, shown(each.host), str(each.process)),
            str(each.threads) if each.kind in _HOSTS else "-",
            *(str(each.fibers), str(each.ready), str(each.blocked), ago(each.age_seconds)),
            each.state or _other_version(each.version, cluster.version),
        )
        for each in _sorted(told.members, sort)
    ]
    yield from _table([*head, ""], members)
    yield from _more(cluster.members - len(members), "member")
    yield ""
    columns = ("RUN", "NAME", "OWNER", "FIBERS", "BLOCKED", "WAITING", "ASLEEP", "SINCE")
    yield from _table([*columns, ""], [_run_row(each) for each in _sorted(told.runs, sort)])
    yield from _more(cluster.runs - len(told.runs), "run")
    yield ""
    states = ", ".join(f"{count} {state}" for state, count in cluster.states.items() if count)
    yield f"fibers: {states or 'none'}"
    yield f"backlog: {count_of(cluster.backlog, 'chunk')} of fibers without a place"
    yield from _lines_of_locks(told.locks, cluster.locks)
    counts = ", ".join(
        count_of(count, noun) + f" {done}"
        for noun, done, count in _what_went_wrong(cluster.counts)
        if count
    )
    yield f"so far: {counts or 'nothing lost, nothing refused'}"


def _what_went_wrong(counts: Mapping[str, int]) -> Iterator[tuple[str, str, int]]:
    """The counts of mishaps, like "members lost", each name in two parts.

    Messages that came too late are left out: in any cluster, two say something at one moment.
    """
    for what, count in sorted(counts.items()):
        if what != LATE:
            noun, _, done = what.partition(" ")
            yield noun.removesuffix("s"), done, count


def _run_row(run: RunTold) -> tuple[str, ...]:
    return (
        *(name_of(run.id), shown(run.name) or "-", shown(run.owner) or "-", str(run.fibers)),
        *(str(run.blocked), str(run.waiting), str(run.asleep), ago(run.age_seconds)),
        f"ends: {shown(run.ending)[:60]}" if run.ending else "",
    )


def _lines_of_locks(locks: Sequence[LockTold], count: int) -> Iterator[str]:
    waiting = sum(each.waiting for each in locks)
    yield f"locks: {count} in use, {count_of(waiting, 'fiber')} waiting for them"
    wanted = sorted(locks, key=lambda each: -each.waiting)
    for each in [each for each in wanted if each.waiting][:_MOST_LOCKS]:
        tokens = f"{each.lent} of {each.tokens or 1} tokens out"
        yield f"  {key_of(each.key)}: {tokens}, {count_of(each.waiting, 'fiber')} waiting"


def _sorted(rows: Sequence[Any], column: str) -> Sequence[Any]:
    key = {"since": "age_seconds"}.get(column, column)
    if not rows or not hasattr(rows[0], key):
        return rows
    return sorted(rows, key=lambda row: getattr(row, key), reverse=key != "name")


def _other_version(version: str, own: str) -> str:
    return f"distio {shown(version)}" if version != own else ""


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"and {count_of(count, f'more {what}')}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def count_of(number: int, noun: str) -> str:
    """A number of things.

    >>> count_of(1, "fiber"), count_of(2, "fiber")
    ('1 fiber', '2 fibers')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def ago(seconds: float) -> str:
    """A length of time in one short word.

    >>> ago(7), ago(90), ago(7200), ago(200_000)
    ('7s', '1m30s', '2h00m', '2d07h')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}h"


def line_of_fiber(fiber: FiberTold, at: str = "") -> str:
    """A fiber on one line.

    Args:
        fiber: the fiber.
        at: the name of the member where it is; empty: that goes without saying.
    """
    named = label_of(fiber.fiber, shown(fiber.name))
    place = f" in {shown(fiber.function)} ({shown(fiber.where)})" if fiber.function else ""
    parts = [f"{named}: {wait_of(fiber)}"]
    if fiber.holds:
        parts.append(f"holds {', '.join(map(key_of, fiber.holds))}")
    member = f" at {shown(at)}" if at else ""
    return f"{'; '.join(parts)}{place}{member}"


def wait_of(fiber: FiberTold) -> str:
    """The state of a fiber in words, with what it waits for."""
    said = shown(fiber.state)
    if fiber.lock is not None:
        said += f" {key_of(fiber.lock)}"
    if fiber.fibers:
        some = ", ".join(map(name_of, fiber.fibers[:5]))
        left = len(fiber.fibers[5:]) + fiber.more
        said += f" {some}" + (f" and {left} more" if left else "")
    return said
