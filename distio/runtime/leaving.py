"""How a member leaves its cluster: since it is told to, or since its program has ended.

Rules
-----
- A member that leaves says so, lets its fibers go on elsewhere or release what they hold, and
  closes its link then. The coordinator watches over the time.
- A signal handler may ask for it. So a request is only noted, and wakes the link thread, which does
  the rest.
- The second request ends the wait for the fibers: the process gives up what is here.
- In an absence of the coordinator nothing can be said, and the request waits. A process without
  fibers closes its link at once. One that has some waits for another coordinator, with which they
  go on elsewhere, for as long as they may take.
- An orphan is a process whose program has ended. If the process is of no use without that program,
  it waits a moment for its coordinator to say that all is over. Otherwise it leaves as if it were
  told to, and its fibers go on elsewhere.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

from distio.coordination.endings.member import last_words
from distio.coordination.settings import GRACE_SECONDS
from distio.protocol import messages as m
from distio.runtime.lines import Lines

if TYPE_CHECKING:
    from distio.runtime.link import LinkedHost

__all__ = ["Leaving"]

_ORPHAN_SECONDS: Final = 4.0
"""How long a process whose program has ended waits for its coordinator to say that all is over."""


@final
class Leaving:
    """Whether, why and when one member leaves.

    Args:
        host: that of the member.
        lines: its connections.
    """

    def __init__(self, host: LinkedHost, lines: Lines) -> None:
        self._host = host
        self._lines = lines
        self._request: tuple[str, float] | None = None
        """The request that the link thread has not carried out yet: why, and in how many seconds.
        """
        self.because = ""
        self._began_at = 0.0
        self._ends_by: float | None = None
        """The time at which what is left here is given up; None: the member isn't leaving."""
        self.belongs_to_program = True
        """Whether this process is of no use when the one that has started it has ended."""
        self.orphaned_until: float | None = None
        """The time until which an orphan waits for its coordinator; None: the member is none."""

    # -- requests -------------------------------------------------------------------------

    def request(self, reason: str = "", grace: float = GRACE_SECONDS) -> None:
        """Leave the cluster, and close the link, when all fibers here have released what they hold.

        Returns at once, and may be called by a signal handler: the link thread does it. The second
        time, it waits for them no longer.

        Args:
            reason: what is said of the link's end.
            grace: how many seconds the fibers may take.
        """
        if self._is_requested or self._host.standalone is not None:
            self._host.inbox.put(self._give_up)
        self._request = reason, grace
        self._host.waker.wake()

    def told(self, message: m.Leave) -> None:
        """The coordinator has this member leave (mutex held)."""
        if not self._is_requested:
            self._request = message.reason, message.seconds
            self._host.waker.wake()

    @property
    def _is_requested(self) -> bool:
        return self._request is not None or self._host.member.state.is_leaving

    def _give_up(self) -> None:
        if self._host.standalone is not None:
            self._host.standalone.give_up()
        else:
            self._host.say_last(*last_words(self.because))  # nobody waits for it
        self._host.close(self.because)

    # -- the link thread ------------------------------------------------------------------

    def begin(self) -> None:
        """Carry out the request, if there is one."""
        if self._request is None:
            return
        self.because, grace = self._request
        host, absence = self._host, self._lines.absence
        if absence.is_now:
            # fibers here go on elsewhere as soon as there is a coordinator again
            if not host.member.hosts_fibers:
                host.close(self.because)
            absence.end_by(time.monotonic() + grace)
            return
        self._request = None
        self._began_at = time.monotonic()
        self._ends_by = self._began_at + grace
        with host.fail_stop:
            host.member.leave(grace)
            host.wake()
            host.send_outbox(full=True)

    def connection_broke(self) -> None:
        """A member that is leaving waits for a coordinator no longer than its fibers may take."""
        if self._ends_by is not None:
            self._lines.absence.end_by(self._ends_by)

    @property
    def is_over(self) -> bool:
        """Whether the member leaves, and no fiber is here that could go on elsewhere."""
        state = self._host.member.state
        return state.has_left or (state.is_leaving and not self._host.member.hosts_fibers)

    def story(self) -> str:
        """The story of the member's leaving: why, what has become of its fibers, and how long that
        took."""
        seconds = time.monotonic() - self._began_at
        return f"{self.because}; {self._host.member.drained}; took {seconds:.2f} s"

    def program_ended(self) -> None:
        """The program that has started this process has ended."""
        if self.belongs_to_program:  # the coordinator has noticed, and ends its runs
            self.orphaned_until = time.monotonic() + _ORPHAN_SECONDS
        else:
            self.request("the process that started this one has ended")

    def orphan_gives_up(self) -> str:
        """A reason if this process is an orphan, and has waited for long enough.

        A coordinator that was lost, too, says nothing: nobody is there who would start another.
        """
        if self.orphaned_until is None:
            return ""
        if self._lines.absence.is_now or time.monotonic() >= self.orphaned_until:
            return "the program that started this process has ended"
        return ""

    @property
    def grace_alone(self) -> float:
        """How many seconds fibers may take to release what they hold without a coordinator."""
        if self.orphaned_until is None:
            return GRACE_SECONDS
        return max(0.0, self.orphaned_until - time.monotonic())
