"""The members of a cluster, as a program sees them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, final

from distio._display.html import table
from distio.errors import ClusterError
from distio.protocol.domains import MemberKind
from distio.protocol.messages.roster import (
    ListedMember,
    ListMembers,
    MembersListed,
    WithdrawListing,
)

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["MemberStatus", "cluster_as_html", "list_members", "wait_for_workers"]


@final
@dataclass(frozen=True, repr=False)
class MemberStatus:
    """A member of a cluster, as the coordinator knows it."""

    name: str
    """Unique among the members that live."""
    kind: MemberKind
    """`"worker"`, `"client"`, or `"supervisor"`: a daemon that has started workers."""
    number: int
    """The number of the member in this cluster, which no other member ever has."""
    host: str
    pid: int
    threads: int
    """How many step fibers."""
    tags: Mapping[str, str]
    resources: Mapping[str, float]
    fibers: int
    """The number of fibers that are alive at the member."""
    ready: int
    """How many of these could be stepped, and aren't."""
    since: datetime
    """The time at which the member has joined, by the clock of this machine."""
    is_leaving: bool
    """Whether the member takes no fibers any more."""

    def __repr__(self) -> str:
        tags = [f"{name}={tag}" for name, tag in self.tags.items()]
        amounts = [f"{name}={amount:g}" for name, amount in self.resources.items()]
        parts = [
            f"{self.kind} {self.name}",
            f"process {self.pid} on {self.host}",
            _counted(self.threads, "thread"),
            _counted(self.fibers, "fiber"),
            *tags,
            *amounts,
            *["leaves"] * self.is_leaving,
        ]
        return f"<{', '.join(parts)}>"

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows."""
        rows = list(zip(_COLUMNS, _row(self), strict=True))
        return table(f"{self.kind} {self.name}", rows[2:])


_COLUMNS: Final = ("kind", "name", "host", "process", "threads", "fibers", "ready", "has", "state")
_MOST_ROWS: Final = 20


def _row(member: MemberStatus) -> tuple[object, ...]:
    has = [f"{name}={tag}" for name, tag in member.tags.items()]
    has += [f"{name}={amount:g}" for name, amount in member.resources.items()]
    return (
        member.kind,
        member.name,
        member.host,
        member.pid,
        member.threads,
        member.fibers,
        member.ready,
        ", ".join(has),
        "leaves" if member.is_leaving else "is here",
    )


def cluster_as_html(host: LinkedHost, seconds: float) -> str:
    """The HTML for a cluster in a notebook: the coordinator's answer within so many seconds."""
    title = f"cluster at {host.url}"
    try:
        answer = host.questions.ask(ListMembers, timeout=seconds)
    except ClusterError as error:
        return table(title, [("state", error)])
    if answer is None:
        return table(title, [("state", f"the coordinator hasn't answered within {seconds:g} s")])
    assert isinstance(answer, MembersListed)
    members = _statuses(answer.members)
    workers = [each for each in members if each.kind == "worker"]
    rows = [_row(each) for each in members[:_MOST_ROWS]]
    if len(members) > _MOST_ROWS:
        rows.append(("…", f"{len(members) - _MOST_ROWS} more", *[""] * (len(_COLUMNS) - 2)))
    threads = _counted(sum(each.threads for each in workers), "thread")
    waiting = f"{_counted(answer.waiting, 'fiber')} waiting for a place"
    return table(
        f"{title}: {_counted(len(workers), 'worker')}, {threads}, {waiting}", rows, _COLUMNS
    )


def list_members(host: LinkedHost, seconds: float | None = None) -> list[MemberStatus]:
    """All members, as they have joined.

    Raises:
        TimeoutError: the coordinator hasn't answered within so many seconds.
        ClusterClosed: the cluster is closed, or its coordinator lost.
    """
    answer = host.questions.ask(ListMembers, timeout=seconds)
    if answer is None:
        raise TimeoutError(f"the coordinator hasn't answered within {seconds:g} s")
    assert isinstance(answer, MembersListed)
    return _statuses(answer.members)


def wait_for_workers(host: LinkedHost, count: int, seconds: float | None) -> list[MemberStatus]:
    """The workers, when so many are there.

    Raises:
        TimeoutError: they aren't within so many seconds; the message says who is.
        ClusterClosed: the cluster is closed, or its coordinator lost.
    """
    answer = host.questions.ask(
        lambda number: ListMembers(number, count), timeout=seconds, withdraw=WithdrawListing
    )
    if answer is not None:
        return [each for each in _statuses(answer.members) if each.kind == "worker"]
    workers = [each for each in list_members(host) if each.kind == "worker"]
    there = ", ".join(f"{each.name} on {each.host}" for each in workers) or "none"
    raise TimeoutError(
        f"{_counted(count, 'worker')} expected within {seconds:g} s, but {len(workers)} came: "
        f"{there}; start others with distio-worker, or wait for longer"
    )


def _statuses(members: Sequence[ListedMember]) -> list[MemberStatus]:
    now = datetime.fromtimestamp(time.time(), UTC)
    return [_status(each, now) for each in members]


def _status(member: ListedMember, now: datetime) -> MemberStatus:
    return MemberStatus(
        name=member.name,
        kind=member.kind,
        number=member.id,
        host=member.host,
        pid=member.pid,
        threads=member.threads,
        tags=member.tags,
        resources=member.resources,
        fibers=member.fibers,
        ready=member.ready,
        since=now - timedelta(seconds=member.age_seconds),
        is_leaving=member.is_leaving,
    )


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
