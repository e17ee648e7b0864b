"""Keeps the link to the coordinator alive, and finds out when the coordinator is lost.

Rules
-----
- A connection that breaks makes the member absent. Others are made, on which it asks to go on as
  the same member. The member is lost if that takes too long.
- On TCP the coordinator counts as lost, too, when it has given no sign of life for too long. If its
  cluster has several addresses, another process may have taken over from it, and the member calls
  that one instead. On ipc the system tells of the end of a process.
- A member that leaves doesn't wait for a coordinator that is gone.
- The coordinator may say itself that all is over: for everybody, so nothing is lost; or for this
  member, which it refuses or has given up.
- A member is fenced when the coordinator may go on without it, and hold it for lost: fibers that
  may go on elsewhere must not release what others have.
- Each method that may find the end of the link returns the reason, or an empty string.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final, final

from distio.coordination.membership.session import Breach
from distio.protocol import messages as m
from distio.runtime.failure_detector import FailureDetector, silence_of
from distio.runtime.lines import Lines
from distio.runtime.logs import log

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["LinkKeeper"]

_BROKE: Final = "the connection to the coordinator broke"


@final
class LinkKeeper:
    """Works on the link thread.

    Args:
        host: that of the member.
        lines: its connections.
        detector: decides of the silence of the coordinator.
    """

    def __init__(self, host: LinkedHost, lines: Lines, detector: FailureDetector[str]) -> None:
        self._host = host
        self._lines = lines
        self._detector = detector
        self.is_lost = False
        """Whether the link has ended without being closed."""
        self.is_fenced = False

    def begin(self) -> None:
        """Look after signs of life, unless the system tells of the end of a process."""
        if silence_of(self._lines.wire.connections) is not None:
            self._detector.begin(time.monotonic())

    @property
    def due(self) -> float | None:
        """When to see to the link; None: at no time."""
        dues = (self._detector.due, self._lines.due)
        return min([each for each in dues if each is not None], default=None)

    def _lose(self, reason: str) -> str:
        self.is_lost = self.is_fenced = True
        return reason

    # -- what is heard --------------------------------------------------------------------

    def hear(self, message: m.CoordinatorMessage) -> str:
        """Take up what the coordinator says of the link itself (mutex held)."""
        fence = self._lines.fence
        if isinstance(message, m.Resumed):
            return self._resumed(message)
        if isinstance(message, m.LeaseRenewed):
            if fence is not None:
                fence.renewed(message.asked_at)
        elif isinstance(message, m.LinkBroke):
            self._lines.told_of_break()
        elif isinstance(message, m.Shutdown):
            # one that leaves, and has taken too long, is told so
            is_leaving = self._host.member.state.is_leaving
            self.is_lost = self.is_fenced = not (message.is_for_all or is_leaving)
            return message.reason or "the cluster was closed"
        elif isinstance(message, m.Refused):
            return self._lose(f"the coordinator refuses this process: {message.reason}")
        return ""

    def _resumed(self, message: m.Resumed) -> str:
        try:
            was_told = self._lines.resumed(message.heard)
        except Breach as breach:
            return self._lose(
                f"the coordinator has gone back to an earlier state of its journal: {breach}"
            )
        if was_told:
            self._host.deliveries.do(_log_return)
        self.begin()
        self._host.waker.wake()  # the member may be about to leave
        return ""

    # -- what is seen ---------------------------------------------------------------------

    def broke(self) -> str:
        """A connection broke."""
        if refusal := self._lines.refusals.final:
            return self._lose(refusal)
        state = self._host.member.state
        has_left = state.is_leaving and state.offers_children  # a client isn't waited for
        if has_left or not self._lines.absence.longest:
            self.is_lost = True
            return _BROKE
        with self._host.mutex:
            self._lines.broke(time.monotonic())
        self._host.leaving.connection_broke()
        return ""

    def keep(self) -> str:
        """Do what is due for the connections."""
        now, lines = time.monotonic(), self._lines
        due = lines.due
        if due is None or now < due:
            return ""
        absence = lines.absence
        lines.note_life(now)
        if lines.fence is not None:
            lines.fence.look()
        if absence.redial_at is None:
            with self._host.mutex:
                lines.acknowledge(now)
                lines.ask_for_lease()
        elif absence.is_too_long(now):
            return self._lose(f"{_BROKE}, and could not be made again within {absence.longest:g} s")
        elif absence.redial_at <= now:
            if absence.is_news(now):
                self._host.deliveries.do(partial(_log_absence, lines.url, absence.longest))
            with self._host.mutex, self._host.alone_listening():
                lines.redial(now)
        return ""

    def look_for_life(self) -> str:
        """Look whether the coordinator has been silent for too long, if that is due."""
        now = time.monotonic()
        if self._detector.due is None or now < self._detector.due:
            return ""
        silent = silence_of(self._lines.wire.connections)
        lost = self._detector.look(now, {} if silent is None else {"coordinator": silent})
        if lost and self._lines.has_others:
            return self.broke()  # another process may have taken over from it
        self.is_lost = self.is_fenced = bool(lost)
        return "".join(
            f"the coordinator gave {self._detector.complaint(silent)}" for silent in lost.values()
        )


def _log_absence(url: str, longest: float) -> None:
    text = "the coordinator at %s doesn't answer; waiting for it for up to %g s"
    log.log(logging.WARNING, text, url, longest)


def _log_return() -> None:
    log.log(logging.WARNING, "the coordinator is back, and knows this process")
