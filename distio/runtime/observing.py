"""Looking at a cluster from outside: a process joins as an observer, and asks.

An observer hosts nothing. Facts that a member alone knows are asked of that member; one that
doesn't answer in time is named, and all others are told nevertheless.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec

from distio.errors import ClusterError
from distio.protocol.domains import MemberKind
from distio.protocol.ids import NOBODY, member_name, name_of
from distio.protocol.messages.overview import (
    AskFibers,
    AskOverview,
    AskSaved,
    AskToCancel,
    CancelTold,
    FibersTold,
    FiberTold,
    MemberTold,
    OverviewTold,
    SavedTold,
    unpack_page,
)
from distio.protocol.pieces import joined
from distio.runtime.handshake import HANDSHAKE_SECONDS, connect
from distio.runtime.link import LinkedHost
from distio.runtime.threads import start_thread

__all__ = ["ANSWER_SECONDS", "COORDINATOR", "Dump", "Observer", "name_of_member", "observing"]

ANSWER_SECONDS: Final = 5.0
"""How long a member may take to answer before it is called silent."""
COORDINATOR: Final = "the coordinator"
_HOSTS: Final = ("worker", "client")
_LEAVING_MAY_TAKE_SECONDS: Final = 2.0
_READY: Final = "is ready"

_T = TypeVar("_T", OverviewTold, SavedTold, CancelTold)


def name_of_member(member: MemberTold) -> str:
    """How a member is called in messages to people."""
    return member_name(member.kind, member.id, member.process, member.host, member.name)


@dataclass
class Dump:
    """All fibers of a cluster, or of one run, about one moment."""

    fibers: dict[int, tuple[str, FiberTold]] = field(default_factory=dict)
    """By id: the name of the member where the fiber is, and what that tells."""
    silent: list[str] = field(default_factory=list)
    """The members that didn't answer in time."""
    gone: list[str] = field(default_factory=list)
    """The members that were lost meanwhile."""
    cut: list[str] = field(default_factory=list)
    """The members that have left fibers out, because others list them as well."""

    def add(self, member: str, fibers: Iterable[FiberTold]) -> None:
        """Take what a member tells; of a fiber that has moved meanwhile, what is known best."""
        for fiber in fibers:
            known = self.fibers.get(fiber.fiber)
            if known is None or known[1].state == _READY:
                self.fibers[fiber.fiber] = member, fiber


@final
class Observer:
    """A process that looks at a cluster; one thread asks.

    Args:
        url: where the coordinator listens.
        kind: as what it joins: an observer; or a client, which may cancel, and see values.
        timeout: for how many seconds to wait for the coordinator.
        keys: the folder of the keys of this process; None: it has none.

    Raises:
        ClusterError: the cluster can't be joined.
    """

    def __init__(
        self,
        url: str,
        kind: MemberKind = "observer",
        timeout: float = HANDSHAKE_SECONDS,
        keys: Path | None = None,
    ) -> None:
        self._host: LinkedHost = connect(url, kind, 1, timeout=timeout, keys=keys)
        self._timeout = timeout
        self._questions = 0
        self._host.start(1, "distio-observer")  # the thread does what is left when it leaves
        self._link = start_thread("distio-link", self._host.listen, self._host.fail)

    def close(self) -> None:
        """Leave the cluster."""
        self._host.leaving.request()
        self._link.join(_LEAVING_MAY_TAKE_SECONDS)

    def overview(self) -> OverviewTold:
        """The overview of the cluster that the coordinator has.

        Raises:
            ClusterError: the coordinator doesn't answer.
        """
        return self._ask(AskOverview(self._next_question()), OverviewTold)

    def cancel(self, run: int) -> bool:
        """Cancel a run; return whether it goes on (as `overview` raises)."""
        return self._ask(AskToCancel(self._next_question(), run), CancelTold).is_known

    def saved(self, run: int, fiber: int | None = None) -> Iterator[SavedTold]:
        """The snapshots of a run's fibers that the coordinator keeps, page by page.

        Args:
            run: whose.
            fiber: this one alone; None: all of them.

        Raises:
            ClusterError: the coordinator doesn't answer, or leaves something out.
        """
        question = self._next_question()
        for page in count():
            told = self._ask(AskSaved(question, run, fiber or 0, page), SavedTold)
            if told.is_cut:
                raise ClusterError(
                    f"the coordinator has dropped the list of what is saved of run {name_of(run)}, "
                    f"as others list what is saved at the same time; ask again"
                )
            yield told
            if told.is_last:
                return

    def dump(self, run: int | None, seconds: float = ANSWER_SECONDS) -> Dump:
        """List the fibers of a run, or of all runs.

        Args:
            run: whose.
            seconds: how long a member may take for each page.

        Raises:
            ClusterError: the coordinator doesn't answer.
        """
        members = [each for each in self.overview().members if each.kind in _HOSTS]
        names = {NOBODY: COORDINATOR, **{each.id: name_of_member(each) for each in members}}
        question, pages = self._next_question(), dict.fromkeys(names, 0)
        dump, now = Dump(), time.monotonic()
        deadlines = dict.fromkeys(names, now + seconds)
        self._host.say(*[AskFibers(question, member, run, 0) for member in names])
        while deadlines:
            told = self._host.inquiries.next_told(min(deadlines.values()))
            if told is None:
                now = time.monotonic()
                for member in [each for each, at in deadlines.items() if at <= now]:
                    del deadlines[member]
                    dump.silent.append(names[member])
            elif (
                isinstance(told, FibersTold)
                and told.question == question
                and told.member in deadlines
            ):
                if self._take_up(told, dump, names[told.member]):
                    del deadlines[told.member]
                    continue
                deadlines[told.member] = time.monotonic() + seconds
                pages[told.member] += 1
                self._host.say(AskFibers(question, told.member, run, pages[told.member]))
        return dump

    def _take_up(self, told: FibersTold, dump: Dump, name: str) -> bool:
        """Take a page; return whether it is the last of its member."""
        try:
            dump.add(name, unpack_page(joined(told.page)))
        except msgspec.MsgspecError as error:
            raise ClusterError(f"{name} has sent what is no list of fibers: {error}") from error
        if told.gone:
            dump.gone.append(name)
        if told.is_cut:
            dump.cut.append(name)
        return told.is_last

    def _ask(self, message: AskOverview | AskSaved | AskToCancel, kind: type[_T]) -> _T:
        until = time.monotonic() + self._timeout
        self._host.say(message)
        while (told := self._host.inquiries.next_told(until)) is not None:
            if isinstance(told, kind) and told.question == message.question:
                return told
        raise ClusterError(
            f"the coordinator doesn't answer (waited {self._timeout:g} s); its log says what it "
            f"is at, and SIGUSR1 has it say so"
        )

    def _next_question(self) -> int:
        self._questions += 1
        return self._questions


@contextmanager
def observing(
    url: str, kind: MemberKind = "observer", keys: Path | None = None
) -> Iterator[Observer]:
    """An observer, which leaves in the end."""
    observer = Observer(url, kind, keys=keys)
    try:
        yield observer
    finally:
        observer.close()
