"""The saved state of a run: the coordinator hands out what it keeps of the fibers, page by page.

Rules
-----
- Snapshots have values of users, so the question is for clients; observers don't see them.
- The coordinator opens nothing: snapshots and attachments are bytes that the asking process opens.
- A page costs as much as it has: some fibers, and a MiB; its last payload may go beyond that. The
  next page is made when it is asked for, which a process does when it has read the one before.
- A listing has the fibers that had a record when it began, and each as it was when its page was
  made. A snapshot that several fibers share is told once, and so is an attachment.
- The ids of a run are copied when its listing begins, by one call of the interpreter (some ten
  milliseconds for a million). Nothing else is done for all fibers at once.
- A client has one listing at a time, and few clients have one: a further listing ends the oldest.
  A listing ends with its last page, with its run, or with its client.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Reversible, Sized
from typing import Final, final

from distio.coordination.dispatch import handles, unchecked
from distio.coordination.feature.coordinator import CoordinatorFeature
from distio.coordination.state.coordinator import CoordinatorState
from distio.coordination.state.members import MemberRecord
from distio.coordination.state.registry import NOWHERE, FiberRecord, Run, Snapshot
from distio.errors import DistioBug
from distio.protocol.messages import overview as m
from distio.protocol.pieces import Bytes

__all__ = ["PAGE", "PAGE_BYTES", "SavedState"]

PAGE: Final = 1_000
"""How many fibers, snapshots and attachments a page has at most."""
PAGE_BYTES: Final = 2**20
"""A page that has so many bytes of payloads takes no more."""
_MOST_LISTINGS: Final = 16
_GONE: Final = "a member that is gone"


@final
class _Listing:
    """The fibers of a run that aren't told yet."""

    __slots__ = ("due", "given", "left", "numbers", "page", "question", "run")

    def __init__(self, question: int, run: int, fibers: Reversible[int]) -> None:
        self.question = question
        self.run = run
        self.page = 0
        """The number of the page that comes next."""
        self.left = [*reversed(fibers)]
        """The fibers that aren't told; the last one is next."""
        self.due: deque[bytes | Snapshot] = deque()
        """The attachments, by digest, and the snapshots that fibers need that were told."""
        self.numbers: dict[Snapshot, int] = {}
        self.given: set[bytes] = set()
        """The digests of the attachments that were told, or are due."""

    @property
    def is_told(self) -> bool:
        """Whether nothing is left."""
        return not (self.left or self.due)

    def number_of(self, snapshot: Snapshot | None) -> int:
        """The number of a snapshot, which is due if it has none yet."""
        if snapshot is None:
            return 0
        number = self.numbers.get(snapshot)
        if number is None:
            number = self.numbers[snapshot] = len(self.numbers) + 1
            fresh = [each for each, _ in snapshot.chunk.attachments if each not in self.given]
            self.given.update(fresh)
            self.due += [*fresh, snapshot]
        return number


class SavedState(CoordinatorFeature):
    """The listings of what is saved that aren't told to their ends."""

    def __init__(self, state: CoordinatorState, deadline_of: Callable[[int], float | None]) -> None:
        """
        Args:
            state: what is known of members, runs and fibers.
            deadline_of: when the sleep of a fiber ends, if it sleeps at a member.
        """
        self._state = state
        self._deadline_of = deadline_of
        self._listings: dict[int, _Listing] = {}
        """The listing of each client."""

    @handles
    @unchecked
    def ask(self, sender: MemberRecord, message: m.AskSaved) -> None:
        """A client asks for a page of what is saved of a run."""
        run = self._state.runs.get(message.run)
        if run is None:
            told = m.SavedTold(message.question, is_known=False, is_last=True)
            self._state.send(sender.id, told)
            return
        if message.page == 0:
            self._begin(sender.id, message, run)
        listing = self._listings.get(sender.id)
        asked = message.question, message.run, message.page
        if listing is None or (listing.question, listing.run, listing.page) != asked:
            told = m.SavedTold(message.question, is_known=True, is_last=True, is_cut=True)
            self._state.send(sender.id, told)
            return
        self._state.send(sender.id, self._page(listing, run))
        listing.page += 1
        if listing.is_told:
            del self._listings[sender.id]

    def _begin(self, client: int, message: m.AskSaved, run: Run) -> None:
        self._listings.pop(client, None)
        while len(self._listings) >= _MOST_LISTINGS:
            del self._listings[next(iter(self._listings))]
        fibers: Reversible[int] = run.fibers
        if message.fiber:
            fibers = [message.fiber] if message.fiber in run.fibers else []
        self._listings[client] = _Listing(message.question, message.run, fibers)

    def _page(self, listing: _Listing, run: Run) -> m.SavedTold:
        fibers: list[m.FiberSaved] = []
        snapshots: list[m.SnapshotSaved] = []
        attachments: list[tuple[bytes, Bytes]] = []
        size = 0
        for _ in range(PAGE):
            if listing.is_told or size >= PAGE_BYTES:
                break
            if not listing.due:
                self._take_up(listing, fibers)
                continue
            part = listing.due.popleft()
            if isinstance(part, bytes):
                payload = run.attachments[part].load()
                attachments.append((part, payload))
            else:
                payload, chunk = part.payload.load(), part.chunk
                told = chunk.code, chunk.is_waiting, part.is_saved
                snapshots.append(m.SnapshotSaved(listing.numbers[part], payload, *told))
            size += len(payload)
        owner = self._state.members.get(run.owner)
        return m.SavedTold(
            question=listing.question,
            is_known=True,
            is_last=listing.is_told,
            owner="" if owner is None else owner.name(),
            keeps=run.snapshots,
            alive=max(0, run.alive),
            fibers=fibers,
            snapshots=snapshots,
            attachments=attachments,
        )

    def _take_up(self, listing: _Listing, fibers: list[m.FiberSaved]) -> None:
        """Tell the next fiber, if it goes on by now; what it needs is due."""
        fiber = listing.left.pop()
        record = self._state.fibers.get(fiber)
        if record is not None and not record.ended:
            fibers.append(self.tell(fiber, record, listing.number_of(record.snapshot)))

    def tell(self, fiber: int, record: FiberRecord, snapshot: int) -> m.FiberSaved:
        """The report on a fiber whose snapshot has this number."""
        state, rare, group = self._state, record.rare, record.rare.group
        deadline = rare.wakes_at if group is None else group.deadline_of(fiber)
        timer = self._deadline_of(fiber) if group is None else None
        if timer is not None:
            deadline = timer
        host = state.members.get(record.host)
        at = "" if record.host == NOWHERE else _GONE if host is None else host.name()
        code = b"" if record.snapshot is None else record.snapshot.chunk.code
        return m.FiberSaved(
            fiber=fiber,
            epoch=record.epoch,
            snapshot=snapshot,
            place=record.place,
            name="" if group is None else group.names.get(fiber) or "",
            at=at,
            is_asleep=group is not None or timer is not None,
            is_answered=rare.reply is not None,
            is_misfit=code in state.misfits,
            wakes_in=None if deadline is None else max(0.0, deadline - state.now),
            restored=rare.restored,
            last_loss=rare.last_loss,
            unsaved=rare.unsaved,
        )

    # -- hooks ----------------------------------------------------------------------------

    def run_ended(self, id: int, run: Run) -> None:
        """Drop the listings of the run."""
        self._keep_only(lambda _, listing: listing.run != id)

    def member_lost(self, lost: MemberRecord, reason: str) -> None:
        """The client asks no more."""
        self._keep_only(lambda client, _: client != lost.id)

    def _keep_only(self, is_kept: Callable[[int, _Listing], bool]) -> None:
        if self._listings:
            self._listings = {key: of for key, of in self._listings.items() if is_kept(key, of)}

    def validate(self) -> None:
        """Check that the client and the run of each listing are there."""
        for client, listing in self._listings.items():
            if client not in self._state.members or listing.run not in self._state.runs:
                raise DistioBug(f"a listing of client {client} outlives it, or its run")

    def leftovers(self) -> Mapping[str, Sized]:
        return {"listings of what is saved": self._listings}
