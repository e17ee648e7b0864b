"""A lease: for how long a member may step its fibers without hearing of the coordinator.

A member that is cut off, or was stopped, doesn't know whether it is held for lost. Its fibers may
go on elsewhere by then, so here they must not.

Rules
-----
- The coordinator holds a silent member for lost after some time at the soonest. A lease is shorter
  than that by a share of `MARGIN`.
- A member asks for its lease now and then, and says what its own clock shows. The coordinator
  answers a member with that time, and never looks at it. The lease then counts from the moment in
  which the member has *asked*: at that moment, or later, the coordinator has heard of it. So a late
  answer, which a process finds that was stopped meanwhile, opens nothing.
- When the lease has ended, no function of a fiber is called until it is renewed. Only the answer to
  a question that was asked since can do that, and to a lost member none comes.
- Two clocks are never compared. They only have to run at one rate, but for less than the margin; a
  function that is running when the lease ends has the margin to return.
"""

from __future__ import annotations

from typing import Final, final

__all__ = ["MARGIN", "Lease", "lease_seconds"]

MARGIN: Final = 0.3
"""The coordinator waits for so much longer than a member does, as a share of the time."""
_QUESTIONS: Final = 4
"""How often a member asks while its lease lasts: it may miss the first answers."""


def lease_seconds(patience: float, absence: float) -> float:
    """How long the leases of a coordinator's members are, in seconds.

    Args:
        patience: how long a member may be silent before it is lost.
        absence: how long a member whose connection broke may take to come back, by its own clock;
            0: it never comes back.

    >>> lease_seconds(patience=30.0, absence=10.0), lease_seconds(patience=13.0, absence=0.0)
    (10.0, 10.0)
    """
    longest = patience / (1 + MARGIN)
    return min(longest, absence) if absence else longest


@final
class Lease:
    """The lease of one member; its shell sends the questions, and keeps the clock.

    Args:
        seconds: for how many seconds it lasts.
        asked_at: when the member has asked to be let in.
    """

    def __init__(self, seconds: float, asked_at: float) -> None:
        self.seconds: Final = seconds
        self.ends_at = asked_at + seconds
        """The end of the lease, unless it is renewed."""
        self.ask_at = asked_at + seconds / _QUESTIONS
        """The time at which to ask next."""

    def is_open(self, now: float) -> bool:
        """Whether the member may step its fibers."""
        return now < self.ends_at

    def asked(self, now: float) -> None:
        """The coordinator is being asked."""
        self.ask_at = now + self.seconds / _QUESTIONS

    def ask_again(self, now: float) -> None:
        """Earlier questions may never be answered: ask at once."""
        self.ask_at = now

    def renewed(self, asked_at: float) -> None:
        """The coordinator has answered the question of this moment."""
        self.ends_at = max(self.ends_at, asked_at + self.seconds)
