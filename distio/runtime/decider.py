"""The decider in the coordinator's process: the machine, its clock, and a journal if it has one.

All inputs of the machine go through here, so that the journal has them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Set
from typing import Any, Final, final

from distio.coordination.coordinator import Coordinator
from distio.coordination.journal.inputs import Heard, HungUp, Input, Refused, Restarted
from distio.coordination.journal.payloads import detached_of
from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.membership.identity import Identity
from distio.coordination.membership.session import count_numbered
from distio.coordination.settings import Settings
from distio.coordination.state.store import Keep
from distio.protocol.codec import Batch
from distio.protocol.messages import HANDSHAKE, MemberMessage
from distio.runtime.journal.journal import Journal, describe
from distio.runtime.poller import Poller
from distio.runtime.wire import Frames

__all__ = ["Decider"]

log: Final = logging.getLogger("distio.coordinator")


@final
class Decider:
    """The machine of a coordinator's process.

    Args:
        settings: its times and limits.
        keep: keeps snapshots and outcomes, if there is no journal.
        journal: where all that the machine is told is kept; None: nowhere.

    Raises:
        JournalError: the journal is damaged.
    """

    def __init__(self, settings: Settings, keep: Keep, journal: Journal | None) -> None:
        self._settings = settings
        self._journal = journal
        self.now: Callable[[], float] = time.monotonic if journal is None else journal.now
        """The time on the machine's clock."""
        if journal is None:
            self.board = self._make(keep, log.info, log.error)
        else:
            self.board = journal.recover(lambda blobs: self._make(blobs, _nobody, _nobody))
            self.take_in(Restarted(self.now(), settings))
            self.board.inform(log.info, log.error)
            self._tell_of_journal(journal)

    def _make(
        self, keep: Keep, note: Callable[[str], None], warn: Callable[[str], None]
    ) -> Handshakes:
        settings = self._settings
        machine = Coordinator(
            settings.grace,
            settings.max_losses,
            keep=keep,
            keep_seconds=settings.keep_seconds,
            most_unread=settings.unread_memory,
        )
        machine.configure(settings)
        return Handshakes(
            machine,
            note,
            warn,
            absence=settings.absence,
            lease=settings.lease,
            outage=settings.outage,
            max_members=settings.max_members,
            shared_memory=settings.shared_memory,
        )

    def _tell_of_journal(self, journal: Journal) -> None:
        if journal.last_wall_clock:
            log.info(
                "going on from the journal in %s as it was at %s: %s, and %s, each of which has "
                "%g s to come back",
                journal.name,
                describe(journal.last_wall_clock),
                _counted(len(self.board.machine.runs), "run"),
                _counted(len(self.board.machine.members), "member"),
                self._settings.absence,
            )

    @property
    def has_journal(self) -> bool:
        """Whether another process can go on when this one has ended."""
        return self._journal is not None

    @property
    def outlives_program(self) -> bool:
        """Whether another process can go on when the program of a local cluster has ended."""
        return self._journal is not None and not self._journal.is_private

    # -- what it is told ------------------------------------------------------------------

    def take_in(self, input: Input) -> None:
        """Tell the machine."""
        if self._journal is not None and not self._is_of_a_stranger(input):
            self._journal.note(input)
        input.take_up(self.board)

    def _is_of_use(self, address: bytes, batch: Batch[MemberMessage]) -> bool:
        """Whether something may follow from what came from this address."""
        if self.board.has_dealings_with(address):
            return True
        begins = any(isinstance(message, HANDSHAKE) for message in batch.messages)
        return begins and not self.board.is_refused(address)

    def _is_of_a_stranger(self, input: Input) -> bool:
        """Whether nothing follows from it for any member: strangers can't fill a journal."""
        if not isinstance(input, Refused | HungUp):
            return False
        return not self.board.has_dealings_with(input.address)

    def hear(
        self,
        address: bytes,
        batch: Batch[MemberMessage],
        frames: Frames,
        identity: Identity,
    ) -> None:
        """Tell the machine of a batch of messages, which has come as these frames."""
        now = self.now()
        if self._journal is not None and self._is_of_use(address, batch):
            is_change = count_numbered(batch.messages) > 0
            header = [*map(bytes, frames[:1])]
            detached = detached_of(batch, self._journal.blobs)
            heard = Heard(now, address, [*header, *detached], identity)
            self._journal.note(heard, is_change=is_change)
        self.board.hear(now, address, batch.messages, batch.first, batch.heard, identity)

    def commit(self, wait: Callable[[float], bool]) -> None:
        """Have all of it in the journal, before anybody hears what follows; see `Journal.commit`.

        Raises:
            JournalLost: that can't be had.
        """
        if self._journal is not None:
            self._journal.commit(wait)

    # -- checkpoints ----------------------------------------------------------------------

    @property
    def seconds_to_checkpoint(self) -> float | None:
        """How long it is until a checkpoint is to be made; None: none is to be."""
        return None if self._journal is None else self._journal.seconds_to_cut

    def see_to_checkpoints(self, poller: Poller, events: Set[Any]) -> None:
        """Between two turns: begin with a checkpoint, or take up one that is written.

        Args:
            poller: waits until one is written.
            events: what it has found.

        Raises:
            JournalLost: another process has the journal.
        """
        journal = self._journal
        if journal is None:
            return
        if journal.child is not None and journal.child in events:
            poller.unregister(journal.child)
            journal.end_checkpoint()
        elif journal.is_checkpoint_due:
            journal.begin_checkpoint(self.board)
            if journal.child is not None:
                poller.register(journal.child)

    def park(self) -> None:
        """Let another process go on quickly: all was sent, and this one ends."""
        if self._journal is not None:
            log.info(
                "the coordinator ends; the cluster, with %s, is in its journal in %s, and goes on "
                "when another coordinator takes that up",
                _counted(len(self.board.machine.runs), "run"),
                self._journal.name,
            )
            self._journal.checkpoint_now(self.board)

    def close(self) -> None:
        """Let another process have the journal."""
        if self._journal is not None:
            self._journal.close()


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _nobody(text: str) -> None:
    """Drop a message that a coordinator says again while it takes up its journal."""
