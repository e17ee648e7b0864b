"""Named runs: they belong to nobody, so they end with no client, and their outcomes are kept.

Rules
-----
- The root of a named run comes with the message that starts it, and is placed as any fiber. The
  run goes on when all its clients are gone. Without a worker it waits for one.
- A name stands for one run, as long as that runs and until its outcome is forgotten. The same
  program under the same name is the same run: to submit it again is to attach to it.
- Another program under the name of a run that goes on is refused. If the run has ended, the
  outcome has to be forgotten first, or the client says that it is replaced.
- The coordinator itself waits for the outcome of the root (as member `NOBODY`), so its host sends
  the outcome before the end, and it is kept as any that was sent.
- The outcome is kept for as long as was asked for when the run was submitted, and counted from the
  end of the run. A client that attaches in that time gets it at once.
- Any client may attach to a run, cancel it, or have an outcome forgotten.
- The last log records are kept with the run; a client that attaches hears them first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final

import msgspec

from distio.coordination.admission import Inadmissible, Late, part_of, require
from distio.coordination.dispatch import admits, handles, unchecked
from distio.coordination.durable.books import End, NamedBook
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.settings import KEEP_SECONDS
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run
from distio.errors import DistioBug
from distio.protocol import messages as m
from distio.protocol.domains import NamedRunRefusal
from distio.protocol.endings import Cause
from distio.protocol.ids import NOBODY, fiber_id, name_of
from distio.protocol.text import is_label

__all__ = ["MOST_NAMES", "NamedRuns"]

MOST_NAMES: Final = 10_000
"""How many names there may be at one time."""
_MOST_COMPARED: Final = 1_000
"""Among how many names those are looked for that are like an unknown one."""


class NamedRuns(CoordinatorFeature):
    """The names, and what is kept under each."""

    def __init__(
        self,
        state: CoordinatorState,
        cancel: Callable[[int, Run, Cause], None],
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            cancel: called with a run that is to be cancelled.
            keep_seconds: for how long an outcome is kept, if its client doesn't say.
        """
        self._state = state
        self._cancel = cancel
        self.keep_seconds = keep_seconds
        self._by_name: dict[str, NamedBook] = {}
        self._by_run: dict[int, NamedBook] = {}
        self._attached: dict[int, dict[int, None]] = {}
        """By client: the runs for whose ends it waits."""
        self._deadlines: list[tuple[float, int]] = []
        """A heap of (when, run): outcomes to be forgotten. Some may be forgotten already."""
        self.started = 0
        """How many runs were started under names."""

    # -- what clients ask for -------------------------------------------------------------

    @admits
    def admit_submit(self, sender: MemberRecord, message: m.SubmitNamedRun) -> None:
        """A client sends one fiber, with all that it needs."""
        chunk = message.chunk
        require(is_label(message.name), "the name of a run isn't printable")
        require((chunk.run, chunk.fibers) == (0, [(0, 0)]), "a run begins with one fiber")
        bare = m.Chunk(0, chunk.fibers, chunk.payload)
        given = msgspec.structs.replace(chunk, attachments=[], references=[], code=b"")
        require(given == bare, "a root that hasn't begun holds something, or belongs somewhere")
        is_whole = all(data for _, data in chunk.attachments)
        require(is_whole, "an attachment is missing")

    @handles
    def submit(self, sender: MemberRecord, message: m.SubmitNamedRun) -> None:
        """Start the run, or attach the client to it if it is there."""
        known = self._by_name.get(message.name)
        if known is not None and self._is_in_the_way(sender, message, known):
            return
        if known is not None and known.end is not None and message.replaces:
            self._forget(known)
            known = None
        if known is None and len(self._by_name) >= MOST_NAMES:
            self._refuse(sender, message.question, "too many", _too_many(len(self._by_name)))
            return
        self._attach(sender, message.question, known or self._start(sender, message))

    def _is_in_the_way(
        self, sender: MemberRecord, message: m.SubmitNamedRun, known: NamedBook
    ) -> bool:
        """Whether the client was refused, because its name stands for something else."""
        is_other = known.program != message.program
        if known.end is None and is_other:
            reason = (
                f"a run of another program goes on under the name {known.name!r}, and is left "
                f"alone: choose another name, or wait for its end, or cancel it"
            )
        elif known.end is not None and is_other and not message.replaces:
            reason = (
                f"the outcome of another program is kept under the name {known.name!r}: choose "
                f"another name, or submit with replace=True, or say `distio forget` first"
            )
        else:
            return False
        self._refuse(sender, message.question, "another program", reason)
        return True

    @admits
    def admit_act(self, sender: MemberRecord, message: m.ActOnNamedRun) -> None:
        """A client may do all of it."""
        is_client = sender.role == "client"
        require(is_client or message.action == "describe", "an observer changes a run")

    @handles
    def act(self, sender: MemberRecord, message: m.ActOnNamedRun) -> None:
        """Attach a client to a run, cancel the run, or forget its outcome."""
        known = self._by_name.get(message.name)
        if known is None or message.run not in (0, known.id):
            self._refuse(sender, message.question, "unknown", self._unknown(message.name))
        elif message.action == "attach":
            self._attach(sender, message.question, known)
        elif message.action == "forget" and known.end is None:
            reason = f"the run {known.name!r} goes on: cancel it, or wait for its end"
            self._refuse(sender, message.question, "runs", reason)
        else:
            self._state.send(sender.id, m.NamedRunFound(message.question, self._describe(known)))
            if message.action == "forget":
                self._forget(known)
            run = self._state.runs.get(known.id)
            if message.action == "cancel" and run is not None and run.ending is None:
                self._cancel(known.id, run, Cause.CANCELLED)

    @handles
    @unchecked
    def list_runs(self, sender: MemberRecord, message: m.ListNamedRuns) -> None:
        """Tell what is known of all named runs."""
        runs = [self._describe(known) for known in self._by_run.values()]
        self._state.send(sender.id, m.NamedRunsListed(message.question, runs))

    def _refuse(
        self, sender: MemberRecord, question: int, why: NamedRunRefusal, reason: str
    ) -> None:
        self._state.send(sender.id, m.NamedRunRefused(question, why, reason))

    def _unknown(self, name: str) -> str:
        if name in self._by_name:
            return f"the name {name!r} stands for a later run by now: the earlier one was forgotten"
        from difflib import get_close_matches  # few need it

        names = [*islice(self._by_name, _MOST_COMPARED)]
        near = get_close_matches(name, names, cutoff=0.5)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        return (
            f"no run {name!r} is known to the coordinator: it was never submitted there, or its "
            f"outcome was forgotten{hint}"
        )

    # -- runs that begin ------------------------------------------------------------------

    def _start(self, sender: MemberRecord, message: m.SubmitNamedRun) -> NamedBook:
        state = self._state
        self.started += 1
        id = fiber_id(NOBODY, self.started)
        record = FiberRecord(id, NOWHERE, 0)
        record.note_waiter(NOBODY, state.members)
        keep = self.keep_seconds if message.keep_seconds is None else message.keep_seconds
        known = NamedBook(id, message, state.now, keep, record)
        self._by_name[known.name] = self._by_run[id] = known
        run = state.runs[id] = Run(NOBODY, message.snapshots)
        run.since = state.now
        run.name = known.name
        run.count(NOWHERE, 1)
        state.enter_fiber(id, record)
        chunk = msgspec.structs.replace(message.chunk, run=id, fibers=[(id, 0)])
        state.wait_for_place(run, state.enter(sender, run, chunk))
        for run_started in state.hooks.run_started:
            run_started(id, run)
        return known

    # -- clients that wait ----------------------------------------------------------------

    def _attach(self, sender: MemberRecord, question: int, known: NamedBook) -> None:
        """A client is to hear of the end."""
        is_new = sender.id not in known.clients
        if known.end is None:
            known.clients[sender.id] = None
            self._attached.setdefault(sender.id, {})[known.id] = None
            self._state.is_unsettled = True  # it may have to hear why the run doesn't go on
        self._state.send(sender.id, m.NamedRunFound(question, self._describe(known)))
        if is_new:
            for records in known.share.messages(known.id):
                self._state.send(sender.id, records)
        if known.end is not None:
            self._state.send(sender.id, _ended(known.id, known.end))

    def clients_of(self, run: int) -> Sequence[int]:
        """The members that hear of a run; none if the run has no name."""
        known = self._by_run.get(run)
        return () if known is None else [*known.clients]

    def keep_records(self, worker: int, message: m.RelayLogs) -> bool:
        """Log records of a named run have come, which may be over; False if it is forgotten."""
        known = self._by_run.get(message.run)
        if known is not None:
            known.share.add(worker, message)
        return known is not None

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """A client that is gone waits for nothing."""
        for run in self._attached.pop(lost.id, ()):
            self._by_run[run].clients.pop(lost.id, None)

    # -- runs that end --------------------------------------------------------------------

    @admits
    def admit_root_ended(self, sender: MemberRecord, message: m.RootEnded) -> None:
        """The root is there."""
        if part_of(self._state, sender, message.run) is None:
            raise Late
        known = self._by_run.get(message.run)
        if known is None or known.root is None or known.root.host != sender.id:
            raise Inadmissible(f"the root of run {name_of(message.run)} isn't there")

    @handles
    def root_ended(self, sender: MemberRecord, message: m.RootEnded) -> None:
        """The root has ended; other fibers of its run may not have."""
        self._by_run[message.run].kind = message.kind

    def run_ended(self, id: int, run: Run) -> None:
        """Keep how the run ended, and tell those who wait for it."""
        known = self._by_run.get(id)
        if known is None:
            return
        state, root = self._state, known.root
        assert root is not None
        cause, reason = run.ending or (Cause.FINISHED, "")
        outcome = None if root.outcome is None else root.outcome.payload
        lost = root.rare.lost if outcome is None else None
        if outcome is None and lost is None and cause is Cause.FINISHED:
            reason = "the outcome of its root has not come"
        kind = "panic" if reason or outcome is None else known.kind
        known.end = End(state.now, kind, outcome, cause, reason, lost)
        known.root = None
        for client in known.clients:  # which may still be sent log records that come late
            state.send_if_member(client, _ended(id, known.end))
        deadline = state.now + known.keep_seconds
        heappush(self._deadlines, (deadline, id))
        state.wake_at(deadline)

    # -- outcomes that are forgotten ------------------------------------------------------

    def _forget(self, known: NamedBook) -> None:
        del self._by_name[known.name], self._by_run[known.id]
        for client in known.clients:
            self._attached[client].pop(known.id, None)
        if len(self._deadlines) > 2 * len(self._by_run) + _MOST_COMPARED:
            self._deadlines = [each for each in self._deadlines if each[1] in self._by_run]
            heapify(self._deadlines)

    def keep_only(self, run: int, name: str) -> None:
        """Forget all names but that of a run which goes on, and give it another one."""
        known = self._by_run[run]
        for other in [each for each in self._by_run.values() if each is not known]:
            self._forget(other)
        del self._by_name[known.name]
        known.name = self._state.runs[run].name = name
        self._by_name[name] = known

    def next_deadline(self) -> float | None:
        """When the next outcome is to be forgotten."""
        while self._deadlines and self._deadlines[0][1] not in self._by_run:
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def tick(self, now: float) -> None:
        """Forget the outcomes that were kept for long enough."""
        while self._deadlines and self._deadlines[0][0] <= now:
            known = self._by_run.get(heappop(self._deadlines)[1])
            if known is not None:
                self._forget(known)

    # -- what is told ---------------------------------------------------------------------

    def _describe(self, known: NamedBook) -> m.NamedRun:
        state, now, end = self._state, self._state.now, known.end
        run = state.runs.get(known.id)
        is_ending = run is not None and run.ending is not None
        asleep = 0 if run is None else run.asleep
        nowhere = 0 if run is None else run.alive_at.get(NOWHERE, 0)
        return m.NamedRun(
            run=known.id,
            name=known.name,
            state=end.kind if end is not None else "ending" if is_ending else "running",
            age_seconds=max(0.0, now - known.started_at),
            ended_seconds=None if end is None else max(0.0, now - end.at),
            kept_seconds=None if end is None else max(0.0, end.at + known.keep_seconds - now),
            fibers=0 if run is None else run.alive,
            waiting=nowhere - asleep,
            asleep=asleep,
            clients=[] if end is not None else self._names_of(known.clients),
            records=known.share.count,
            left_out=known.share.left_out,
        )

    def _names_of(self, members: Iterable[int]) -> list[str]:
        known = self._state.members
        return [known[id].name() for id in members if id in known]

    # -- checks ---------------------------------------------------------------------------

    def validate(self) -> None:
        """Check that each name stands for a run that goes on, or for how it ended."""
        for name, known in self._by_name.items():
            if known.name != name or self._by_run.get(known.id) is not known:
                raise DistioBug(f"the name {name!r} stands for a run that isn't known")
            if (known.end is None) != (known.id in self._state.runs):
                raise DistioBug(f"run {name_of(known.id)} ({name}) is and isn't over")
        if len(self._by_name) != len(self._by_run):
            raise DistioBug("a named run has lost its name")
        for client, runs in self._attached.items():
            if any(client not in self._by_run[run].clients for run in runs):
                raise DistioBug(f"member {client} waits for a run that doesn't know of it")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"roots of named runs": [each for each in self._by_run.values() if each.root]}


def _ended(id: int, end: End) -> m.NamedRunEnded:
    payload = None if end.outcome is None else end.outcome.load()
    return m.NamedRunEnded(id, payload, end.cause, end.reason, end.lost)


def _too_many(count: int) -> str:
    return (
        f"the coordinator has {count:,} named runs already, and takes no more: forget those that "
        f"have ended (`distio forget`), or have outcomes kept for a shorter time"
    )
