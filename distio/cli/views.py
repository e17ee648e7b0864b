"""The views of a cluster for observers: trees, JSON and graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from distio.coordination.overview.text import count_of, key_of, line_of_fiber, shown
from distio.protocol.ids import label_of, name_of
from distio.protocol.messages.overview import FiberTold, OverviewTold
from distio.runtime.observing import COORDINATOR, Dump, name_of_member

__all__ = ["dot_of", "dump_as_data", "lines_of_dump", "lines_of_missing", "overview_as_data"]

_DEEPEST: Final = 30
"""Fibers that stand deeper in the tree are indented no further."""


# -- the overview -----------------------------------------------------------------------------


def overview_as_data(told: OverviewTold) -> dict[str, Any]:
    """The overview as data, for programs that read it."""
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
    """All fibers as a tree: under each fiber are those that end before it, or for which it
    waits."""
    parents = _parents(dump)
    children: dict[int, list[int]] = {}
    for fiber, parent in parents.items():
        children.setdefault(parent, []).append(fiber)
    told: set[int] = set()
    runs: dict[int, list[int]] = {}
    for fiber, (_, each) in dump.fibers.items():
        runs.setdefault(each.run, []).append(fiber)
    for run in sorted(runs):
        yield f"run {name_of(run)}: {count_of(len(runs[run]), 'fiber')}"
        tops = [fiber for fiber in runs[run] if fiber not in parents]
        for top in (*tops, *runs[run]):  # then those that wait for each other in a circle
            pending = [(top, 1)]
            while pending:
                fiber, depth = pending.pop()
                if fiber not in told:
                    told.add(fiber)
                    yield "  " * min(depth, _DEEPEST) + _line(*dump.fibers[fiber])
                    pending += [(child, depth + 1) for child in reversed(children.get(fiber, ()))]
    yield from lines_of_missing(dump)


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
    return line_of_fiber(fiber, "" if member == COORDINATOR else member)


def lines_of_missing(dump: Dump) -> Iterator[str]:
    """The members that haven't told all that they have."""
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
