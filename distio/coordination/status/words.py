"""The states of a member's fibers, in words."""

from __future__ import annotations

from typing import Final

from distio.coordination.state.local_run import LocalRun
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber

__all__ = ["describe_fibers", "describe_fibers_of", "state_of"]

_MOST_NAMED: Final = 5


def state_of(fiber: Fiber) -> str:
    """The state of a parked fiber, in words."""
    return "runs" if fiber.request is None else fiber.request.describe()


def describe_fibers(state: MemberState, run: int) -> str:
    """The fibers of a run that are here, and their states; empty if the run is over."""
    if run not in state.runs:
        return ""
    return describe_fibers_of(state, state.runs[run]) or "fibers on other members"


def describe_fibers_of(state: MemberState, run: LocalRun) -> str:
    """`describe_fibers` for a run that may be over; empty if none of its fibers is here."""
    parked = [fiber for fiber in state.parked.values() if fiber.run == run.id]
    named = [f"fiber {fiber.label} {state_of(fiber)}" for fiber in parked[:_MOST_NAMED]]
    if len(parked) > len(named):
        named.append(f"{len(parked) - len(named)} more wait")
    if others := run.alive - len(parked):
        named.append(f"{others} {'fiber runs' if others == 1 else 'fibers run'}")
    return ", ".join(named)
