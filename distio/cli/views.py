"""What observers see of a cluster, as text, JSON and graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from distio.protocol.ids import label_of, name_of
from distio.protocol.messages.overview import FiberTold, LockTold, OverviewTold, RunTold
from distio.protocol.version import VERSION
from distio.runtime.observing import COORDINATOR, Dump, name_of_member

__all__ = [
    "dot_of",
    "dump_as_data",
    "lines_of_dump",
    "lines_of_overview",
    "overview_as_data",
    "shown",
]

_DEEPEST: Final = 30
"""Fibers that stand deeper in the tree are indented no further."""
_MOST_LOCKS: Final = 20
"""So many locks are shown as text."""


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


# -- the overview -----------------------------------------------------------------------------


def overview_as_data(told: OverviewTold) -> dict[str, Any]:
    """What goes on, for programs that read it."""
    cluster = told.cluster
    return {
        "coordinator": {"version": cluster.version, "protocol": cluster.protocol},
        "members": [
            {
                "member": each.id,
                "name": each.name,
                "called": name_of_member(each),
                "kind": each.kind,
                "host": each.host,
                "process": each.process,
                "threads": each.threads,
                "version": each.version,
                "python": each.python,
                "age_seconds": each.age_seconds,
                "fibers": each.fibers,
                "ready": each.ready,
                "blocked": each.blocked,
                "state": each.state,
            }
            for each in told.members
        ],
        "runs": [
            {
                "run": name_of(each.id),
                "name": each.name or None,
                "owner": each.owner or None,
                "age_seconds": each.age_seconds,
                "fibers": each.fibers,
                "blocked": each.blocked,
                "waiting": each.waiting,
                "asleep": each.asleep,
                "ending": each.ending or None,
            }
            for each in told.runs
        ],
        "locks": [
            {
                "lock": key_of(each.key),
                "tokens": each.tokens,
                "lent": each.lent,
                "waiting": each.waiting,
            }
            for each in told.locks
        ],
        "fibers": dict(cluster.states),
        "backlog": cluster.backlog,
        "counts": dict(cluster.counts),
        "all": {"members": cluster.members, "runs": cluster.runs, "locks": cluster.locks},
    }


def lines_of_overview(told: OverviewTold, sort: str = "") -> Iterator[str]:
    """What goes on, for people.

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
            str(each.threads),
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
    yield f"backlog: {_count(cluster.backlog, 'chunk')} of fibers without a place"
    yield from _lines_of_locks(told.locks, cluster.locks)
    counts = ", ".join(f"{count} {what}" for what, count in sorted(cluster.counts.items()) if count)
    yield f"so far: {counts or 'nothing lost, nothing refused'}"


def _run_row(run: RunTold) -> tuple[str, ...]:
    return (
        *(name_of(run.id), shown(run.name) or "-", shown(run.owner) or "-", str(run.fibers)),
        *(str(run.blocked), str(run.waiting), str(run.asleep), ago(run.age_seconds)),
        f"ends: {shown(run.ending)[:60]}" if run.ending else "",
    )


def _lines_of_locks(locks: Sequence[LockTold], count: int) -> Iterator[str]:
    waiting = sum(each.waiting for each in locks)
    yield f"locks: {count} in use, {_count(waiting, 'fiber')} waiting for them"
    wanted = sorted(locks, key=lambda each: -each.waiting)
    for each in [each for each in wanted if each.waiting][:_MOST_LOCKS]:
        tokens = f"{each.lent} of {each.tokens or 1} tokens out"
        yield f"  {key_of(each.key)}: {tokens}, {_count(each.waiting, 'fiber')} waiting"


def _sorted(rows: Sequence[Any], column: str) -> Sequence[Any]:
    key = {"since": "age_seconds"}.get(column, column)
    if not rows or not hasattr(rows[0], key):
        return rows
    return sorted(rows, key=lambda row: getattr(row, key), reverse=key != "name")


def _other_version(version: str, own: str) -> str:
    return f"distio {shown(version)}" if version != own else ""


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"and {_count(count, f'more {what}')}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def _count(number: int, noun: str) -> str:
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


# -- fibers -----------------------------------------------------------------------------------


def dump_as_data(dump: Dump) -> dict[str, Any]:
    """All fibers, for programs that read it."""
    return {
        "fibers": [
            {
                "fiber": name_of(each.fiber),
                "run": name_of(each.run),
                "name": each.name or None,
                "member": member,
                "owner": name_of(each.owner) if each.owner else None,
                "state": each.state,
                "function": each.function or None,
                "where": each.where or None,
                "waits_for": [name_of(fiber) for fiber in each.fibers],
                "waits_for_more": each.more,
                "lock": None if each.lock is None else key_of(each.lock),
                "holds": [key_of(key) for key in each.holds],
            }
            for member, each in dump.fibers.values()
        ],
        "silent": dump.silent,
        "gone": dump.gone,
        "cut": dump.cut,
    }


def lines_of_dump(dump: Dump) -> Iterator[str]:
    """All fibers as a tree: under each those that end before it, or for which it waits."""
    parents = _parents(dump)
    children: dict[int, list[int]] = {}
    for fiber, parent in parents.items():
        children.setdefault(parent, []).append(fiber)
    told: set[int] = set()
    runs: dict[int, list[int]] = {}
    for fiber, (_, each) in dump.fibers.items():
        runs.setdefault(each.run, []).append(fiber)
    for run in sorted(runs):
        yield f"run {name_of(run)}: {_count(len(runs[run]), 'fiber')}"
        tops = [fiber for fiber in runs[run] if fiber not in parents]
        for top in (*tops, *runs[run]):  # then those that wait for each other in a circle
            pending = [(top, 1)]
            while pending:
                fiber, depth = pending.pop()
                if fiber not in told:
                    told.add(fiber)
                    yield "  " * min(depth, _DEEPEST) + _line(*dump.fibers[fiber])
                    pending += [(child, depth + 1) for child in reversed(children.get(fiber, ()))]
    yield from _what_is_missing(dump)


def _parents(dump: Dump) -> dict[int, int]:
    """By fiber, the one under which it is told."""
    parents = {
        fiber: each.owner for fiber, (_, each) in dump.fibers.items() if each.owner in dump.fibers
    }
    for fiber, (_, each) in dump.fibers.items():
        for awaited in each.fibers:
            if awaited in dump.fibers and awaited != fiber:
                parents.setdefault(awaited, fiber)
    return parents


def _line(member: str, fiber: FiberTold) -> str:
    named = label_of(fiber.fiber, shown(fiber.name))
    place = f" in {shown(fiber.function)} ({shown(fiber.where)})" if fiber.function else ""
    parts = [f"{named}: {shown(fiber.state)}"]
    if fiber.lock is not None:
        parts[0] += f" {key_of(fiber.lock)}"
    if fiber.fibers:
        some = ", ".join(map(name_of, fiber.fibers[:5]))
        left = len(fiber.fibers[5:]) + fiber.more
        parts[0] += f" {some}" + (f" and {left} more" if left else "")
    if fiber.holds:
        parts.append(f"holds {', '.join(map(key_of, fiber.holds))}")
    at = "" if member == COORDINATOR else f" at {shown(member)}"
    return f"{'; '.join(parts)}{place}{at}"


def _what_is_missing(dump: Dump) -> Iterator[str]:
    for what, members in (
        ("didn't answer", dump.silent),
        ("was lost meanwhile", dump.gone),
        ("has left out fibers, as others list them as well", dump.cut),
    ):
        for member in members:
            yield f"{shown(member)} {what}"


def dot_of(dump: Dump) -> Iterator[str]:
    """The fibers and what they wait for, in the language of Graphviz."""
    yield "digraph fibers {"
    yield "  node [shape=box];"
    for fiber, (_, each) in dump.fibers.items():
        place = f"{each.function}\n{each.where}" if each.function else ""
        label = "\n".join(filter(None, [label_of(fiber, each.name), each.state, place]))
        yield f"  {_quoted(name_of(fiber))} [label={_quoted(label)}];"
        for awaited in each.fibers:
            yield f"  {_quoted(name_of(fiber))} -> {_quoted(name_of(awaited))};"
        if each.lock is not None:
            yield f"  {_quoted(name_of(fiber))} -> {_quoted('lock ' + key_of(each.lock))};"
        for key in each.holds:
            yield f"  {_quoted('lock ' + key_of(key))} -> {_quoted(name_of(fiber))} [style=dashed];"
    yield "}"


def _quoted(text: str) -> str:
    return json.dumps("\n".join(map(shown, text.split("\n"))), ensure_ascii=False)
