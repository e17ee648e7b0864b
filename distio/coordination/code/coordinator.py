"""Code that isn't the same everywhere: which worker has said that its code is another.

Rules
-----
- A chunk names the manifest of the code that its pickle refers to, by a digest. A worker whose code
  is another gives the chunk back. From then on it gets no chunk of this manifest: the chunks wait
  for another worker, and hold up no others.
- The differences are told once for each worker and manifest: to the operator, and to the client
  whose fibers came back. When no worker that is there takes them, that is told as well.
- A worker that has joined anew is asked anew: its code may be that of before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from distio.coordination.admission import cut_short
from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import OPERATOR
from distio.coordination.state.members import MemberRecord
from distio.protocol.ids import NOBODY
from distio.protocol.messages import Chunk, Offer
from distio.protocol.messages import code as m

__all__ = ["OtherCode"]

_MOST_DIFFERENCES: Final = 1_000
"""The most differences that are told of one manifest."""
_MOST_REFUSED: Final = 1_000
"""The most manifests that are kept of a worker whose code is another."""


class OtherCode(CoordinatorFeature):
    """The reports on workers with other code; a worker's record has the code that it doesn't
    take."""

    def __init__(
        self,
        state: CoordinatorState,
        admit: Callable[[MemberRecord, Offer], None],
        take_back: Callable[[MemberRecord, Chunk], None],
        clients_of: Callable[[int], Iterable[int]],
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            admit: the rule for chunks that a member offers.
            take_back: lets a chunk that a member has sent wait for a place.
            clients_of: the clients that are attached to a named run.
        """
        self._state = state
        self._admit = admit
        self._take_back = take_back
        self._clients_of = clients_of
        self._stranded: dict[bytes, set[int]] = {}
        """By manifest of chunks for which no worker is there: who was told."""

    @admits
    def admit_return(self, sender: MemberRecord, message: m.ChunkReturned) -> None:
        """The fibers are there."""
        self._admit(sender, Offer([message.chunk]))

    @handles
    def returned(self, sender: MemberRecord, message: m.ChunkReturned) -> None:
        """A worker has other code than the fibers of this chunk."""
        chunk = message.chunk
        if chunk.code not in sender.refused:
            if len(sender.refused) == _MOST_REFUSED:  # of some of these it is asked once more
                self._forget(sender, next(iter(sender.refused)))
            differences = [cut_short(each) for each in message.differences[:_MOST_DIFFERENCES]]
            sender.refused[chunk.code] = differences
            refusals = self._state.refusals
            refusals[chunk.code] = refusals.get(chunk.code, 0) + 1
            report = m.CodeReported(sender.name(), differences)
            self._state.send_uncounted(OPERATOR, report)
            for client in self._audience(chunk.run):
                self._state.send_if_member(client, report)
        self._state.survive(self._take_back, sender, chunk, run=chunk.run)

    def _forget(self, member: MemberRecord, code: bytes) -> None:
        del member.refused[code]
        self._state.refusals[code] -= 1
        if not self._state.refusals[code]:
            del self._state.refusals[code]

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """Another worker that joins is asked anew."""
        for code in list(lost.refused):
            self._forget(lost, code)

    def _audience(self, run: int) -> Iterable[int]:
        """The clients that hear of a run."""
        record = self._state.runs.get(run)
        if record is None:
            return ()
        return self._clients_of(run) if record.owner == NOBODY else (record.owner,)

    def settle(self) -> None:
        """Tell of chunks that wait, if no worker takes them."""
        waiting = self._state.misfits
        if not waiting:
            self._stranded.clear()
            return
        workers = [each for each in self._state.members.values() if each.is_worker]
        for code, chunks in waiting.items():
            if any(code not in worker.refused for worker in workers):
                self._stranded.pop(code, None)
            elif workers:
                told = self._stranded.setdefault(code, set())
                self._tell_stranded(workers[-1].refused[code], chunks, told)

    def _tell_stranded(
        self, differences: list[str], chunks: Iterable[Chunk], told: set[int]
    ) -> None:
        """Tell the operator and clients, each once; some attach to a named run later."""
        counts = {OPERATOR: 0}
        for chunk in chunks:
            for listener in (OPERATOR, *self._audience(chunk.run)):
                counts[listener] = counts.get(listener, 0) + len(chunk.fibers)
        for listener, count in counts.items():
            if listener not in told:
                told.add(listener)
                report = m.CodeReported("", differences, count)
                if listener == OPERATOR:
                    self._state.send_uncounted(OPERATOR, report)
                else:
                    self._state.send_if_member(listener, report)
