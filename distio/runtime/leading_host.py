"""A host whose idle threads listen to the coordinator: see `lead`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Final

from distio.coordination.executor.executor import Executor
from distio.coordination.member import Member
from distio.coordination.membership.session import count_numbered
from distio.protocol import messages as m
from distio.protocol.codec import Batch
from distio.runtime.fenced_host import FencedHost
from distio.runtime.lead import Lead
from distio.runtime.lines import Lines
from distio.runtime.poller import Poller
from distio.runtime.waking import Waker

__all__ = ["LeadingHost"]

_GLANCE_SECONDS: Final = 0.0003
_RARELY_SECONDS: Final = 0.002
"""A thread that is busy listens so often: else a lock that is recalled would be kept too long. Each
time that nothing has come it waits twice as long, at most as long as the guard would."""
_LATE_MS: Final = 100
"""A client that is idle tells how it fares if nothing has come by then: most often it has got what
it waits for, and that is all that there is to tell."""


class LeadingHost(FencedHost):
    """A host that says which of its threads waits at the socket on which the member listens."""

    def __init__(self, member: Member, lines: Lines) -> None:
        self.lead = Lead()
        self._lines = lines
        self._leader: int | None = None
        """The thread of the pool that leads as long as it finds no work."""
        self._listens = False
        """Whether a thread of the pool waits at the socket."""
        self._bell = Waker()
        """Wakes that thread."""
        self.waker = Waker()
        """Wakes the link thread."""
        self._glance_at = 0.0
        """The time at which a thread that is busy listens next."""
        self._glance_seconds = _GLANCE_SECONDS
        self._ear: tuple[Any, Poller] | None = None
        """The socket at which a thread listens, and what waits for that and for the bell."""
        self._handed_over: deque[Batch[m.CoordinatorMessage]] = deque()
        """The batches for the link thread that a thread of the pool has heard, in order."""
        self._is_closed = False
        """Whether nothing more is taken up."""
        self.owes_word = False
        """Whether an idle thread has not told yet how the client fares."""
        super().__init__(member)

    def take_up_numbered(self, batch: Batch[m.CoordinatorMessage]) -> None:
        """Take up a batch that is not about the link, on a thread of the pool (mutex held)."""
        raise NotImplementedError

    def tell_word(self) -> None:
        """Tell how the client fares (mutex held)."""
        raise NotImplementedError

    def rouse(self) -> None:
        """Have the link thread look around (mutex held)."""
        self.lead.rouse()
        self.waker.wake()

    def close_bells(self) -> None:
        """Close the bells: no thread waits at the socket any more."""
        self.waker.close()
        self._bell.close()

    # -- the threads of the pool ----------------------------------------------------------

    def _next(self, executor: Executor) -> bool:
        """Take the next work; a thread that is busy listens now and then between two turns."""
        try:
            goes_on = super()._next(executor)
        finally:
            if self._leader == get_ident():
                with self.mutex:
                    self._cease_to_lead()
        if goes_on and time.monotonic() >= self._glance_at:
            with self.mutex:
                self._glance()
        return goes_on

    def _glance(self) -> None:
        """Take up what has come, without waiting for it (mutex held)."""
        if self.may_lead() and self.lead.take():
            try:
                heard = self._what_has_come(may_wait=False)
                self._note_glance(has_heard=bool(heard))
                self.take_up_in_turn(heard)
            finally:
                self._give_up_lead()
        else:
            self._note_glance(has_heard=False)

    def _note_glance(self, *, has_heard: bool) -> None:
        """Find out when the next glance is due."""
        longer = min(2 * self._glance_seconds, _RARELY_SECONDS)
        self._glance_seconds = _GLANCE_SECONDS if has_heard else longer
        self._glance_at = time.monotonic() + self._glance_seconds

    def take_up_in_turn(self, heard: Sequence[Batch[m.CoordinatorMessage]]) -> None:
        """Take up what a thread of the pool has heard (mutex held); what is about the link itself,
        and all that has come after it, is handed over to the link thread."""
        for index, batch in enumerate(heard):
            if self._is_closed:
                return
            if count_numbered(batch.messages) < len(batch.messages):
                self._handed_over += heard[index:]
                self.lead.is_reserved = True
                self.rouse()
                return
            self.take_up_numbered(batch)

    def _what_has_come(self, *, may_wait: bool) -> list[Batch[m.CoordinatorMessage]]:
        heard = []
        while (batch := self._lines.receive(may_wait=may_wait)) is not None:
            heard.append(batch)
        return heard

    def _give_up_lead(self) -> None:
        if self.lead.give_up():
            self.rouse()
        if self.lead.is_reserved:
            self._lead_is_free.notify()
        if self._idle:
            self._work_ready.notify()  # another one leads

    def may_lead(self) -> bool:
        """Whether this thread of the pool leads as long as it has no work (mutex held)."""
        me, lead = get_ident(), self.lead
        if me == self._main_thread or lead.is_reserved or self.is_stopping:
            return False
        return lead.is_free or self._leader == me

    def _waits_for_work(self, patience: float | None) -> bool:
        """Listen, unless another thread does; then wait until there is work.

        A thread that has heard something leads on until it has found work: most often it finds
        none, and whoever it woke for the time in between would be woken in vain.
        """
        leads, me = self.may_lead(), get_ident()
        if self._leader == me and not leads:
            self._cease_to_lead()
        if not leads:
            return super()._waits_for_work(patience)
        if self._leader != me:
            self.lead.take()
            self._leader = me
        heard: list[Batch[m.CoordinatorMessage]] = []
        self._listen_in_turn(heard)
        self.take_up_in_turn(heard)
        if self._ear is None or self._lines.wire.listener != self._ear[0]:
            self._cease_to_lead()  # so that the link thread sees to a connection that broke
        return True

    def _cease_to_lead(self) -> None:
        """Give up the lead, which this thread of the pool has had while it was idle (mutex
        held)."""
        self._leader = None
        self._give_up_lead()
        self._note_glance(has_heard=True)

    def _listen_in_turn(self, heard: list[Batch[m.CoordinatorMessage]]) -> None:
        """Wait until something has come, or there is work (mutex held).

        Args:
            heard: gets what has come.
        """
        wire, listener = self._lines.wire, self._lines.wire.listener
        if self._ear is None or self._ear[0] != listener:
            self._ear = listener, Poller(listener, self._bell.reader)
        self._idle += 1
        has_rung = False
        try:
            while True:
                patience = self._milliseconds_to_listen()
                self._listens = True
                self.mutex.release()
                try:
                    has_rung = self._bell.reader in self._ear[1].poll(patience)
                    heard += self._what_has_come(may_wait=True)
                finally:
                    self.mutex.acquire()
                    self._listens = False
                if heard or has_rung or wire.listener != listener:
                    break
                if self.owes_word:
                    self.tell_word()
                self._lines.acknowledge(time.monotonic())
        finally:
            self._idle -= 1
        if has_rung:
            self._bell.clear()

    def _milliseconds_to_listen(self) -> int | None:
        """How long the leader listens before it says something unasked; None: for ever."""
        if self.owes_word:
            return _LATE_MS
        due = None if self._lines.absence.is_now else self._lines.session.acknowledge_at
        return None if due is None else max(0, int((due - time.monotonic()) * 1000) + 1)

    # -- the link thread ------------------------------------------------------------------

    @contextmanager
    def alone_listening(self) -> Iterator[None]:
        """A context in which no other thread touches the socket (on the link thread, mutex
        held)."""
        self.take_socket()
        try:
            yield
        finally:
            self.release_socket()

    def take_socket(self) -> None:
        """Let no thread of the pool listen until `release_socket` (link thread, mutex held)."""
        self.lead.is_reserved = True
        while self.lead.is_with_pool:
            self._bell.wake()
            self._lead_is_free.wait()

    def release_socket(self) -> None:
        """Let threads of the pool listen again, unless what they have heard is still to be taken up
        (mutex held)."""
        if not self._handed_over:
            self.lead.is_reserved = False
            self._work_ready.notify()  # an idle thread leads

    @property
    def has_handed_over(self) -> bool:
        """Whether a thread of the pool has left something to the link thread."""
        return bool(self._handed_over)

    def take_handed_over(self) -> Iterator[Batch[m.CoordinatorMessage]]:
        """Take out, one by one, what a thread of the pool has left to the link thread.

        The pool doesn't listen until all of it was taken up, and `release_socket` is called.
        """
        while self._handed_over:
            yield self._handed_over.popleft()

    def renew_mutex(self) -> None:
        """Begin with a new mutex, and what waits with it."""
        super().renew_mutex()
        self._leader = None
        self._lead_is_free = threading.Condition(self.mutex)

    def _summon(self, threads: int) -> None:
        self._work_ready.notify(threads)
        if self._listens and threads >= self._idle:  # all of them, so that one as well
            self._bell.wake()

    def wake_one(self) -> None:
        """Let one idle thread look again (mutex held)."""
        self._summon(1)

    def wake_all(self) -> None:
        """Let all idle threads look again (mutex held)."""
        super().wake_all()
        if self._listens:
            self._bell.wake()

    def stop(self) -> None:
        """Let each thread return when it has done what it is doing."""
        super().stop()
        with self.mutex:
            self.wake_all()
