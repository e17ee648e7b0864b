"""Code that isn't the same everywhere: which worker has said that its code is another.

Rules
-----
- A chunk names the manifest of the code that its pickle refers to, by a digest. A worker whose code
  is another gives the chunk back. From then on it gets no chunk of this manifest: the chunks wait
  for another worker, and hold up no others.
- What differs is told once for each worker and manifest: to the operator, and to the client whose
  fibers came back. When no worker that is there takes them, that is told as well.
- A worker that has joined anew is asked anew: its code may be that of before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from distio.coordination.dispatch import admits, handles
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.events import OPERATOR
from distio.coordination.state.members import MemberRecord
from distio.protocol.messages import Chunk, Offer
from distio.protocol.messages import code as m

__all__ = ["OtherCode"]

_MOST_REFUSED: Final = 1_000
"""So many manifests are kept of a worker whose code is another."""


class OtherCode(CoordinatorFeature):
    """What workers don't take is in their records; here is what was told of it."""

    def __init__(
        self,
        state: CoordinatorState,
        admit: Callable[[MemberRecord, Offer], None],
        take_back: Callable[[MemberRecord, Chunk], None],
    ) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            admit: the rule for chunks that a member offers.
            take_back: lets a chunk that a member has sent wait for a place.
        """
        self._state = state
        self._admit = admit
        self._take_back = take_back
        self._stranded: set[bytes] = set()
        """The manifests of chunks for which no worker is there, as was told."""

    @admits
    def admit_return(self, sender: MemberRecord, message: m.ChunkReturned) -> None:
        """The fibers are there."""
        self._admit(sender, Offer([message.chunk]))

    @handles
    def returned(self, sender: MemberRecord, message: m.ChunkReturned) -> None:
        """A worker has other code than the fibers of this chunk."""
        chunk, run = message.chunk, self._state.runs.get(message.chunk.run)
        if chunk.code not in sender.refused:
            if len(sender.refused) == _MOST_REFUSED:  # of some of these it is asked once more
                del sender.refused[next(iter(sender.refused))]
            sender.refused[chunk.code] = message.differences
            if run is not None:
                self._tell(run.owner, m.CodeReported(sender.name(), message.differences))
        self._state.survive(self._take_back, sender, chunk, run=chunk.run)

    def _tell(self, client: int, report: m.CodeReported) -> None:
        self._state.send_uncounted(OPERATOR, report)
        self._state.send_if_member(client, report)

    def settle(self) -> None:
        """Tell of chunks that wait, if no worker takes them."""
        waiting = self._state.misfits
        if not waiting:
            self._stranded.clear()
            return
        workers = [each for each in self._state.members.values() if each.is_worker]
        for code, chunks in waiting.items():
            if any(code not in worker.refused for worker in workers):
                self._stranded.discard(code)
            elif workers and code not in self._stranded:
                self._stranded.add(code)
                self._tell_stranded(workers[-1].refused[code], chunks)

    def _tell_stranded(self, differences: list[str], chunks: Iterable[Chunk]) -> None:
        by_client: dict[int, int] = {}
        for chunk in chunks:
            owner = self._state.runs[chunk.run].owner
            by_client[owner] = by_client.get(owner, 0) + len(chunk.fibers)
        for client, count in by_client.items():
            self._tell(client, m.CodeReported("", differences, count))
