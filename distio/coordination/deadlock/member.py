"""A member's part in the search for deadlocks: it tells the wait graph of a run, as it is here."""

from __future__ import annotations

from typing import final

from distio.coordination.dispatch import handles
from distio.coordination.feature.member import MemberFeature, WaitsOfRun
from distio.coordination.state.member import MemberState
from distio.protocol import messages as m

__all__ = ["WaitGraphs"]


@final
class WaitGraphs(MemberFeature):
    """Describes the waits of one member's fibers."""

    def __init__(self, state: MemberState) -> None:
        self._state = state

    @handles
    def describe(self, message: m.RequestWaitGraph) -> None:
        """Tell which fibers of a run wait for which, for locks and replies, and what they hold."""
        state = self._state
        run = state.runs.get(message.run)
        if run is None:
            state.send(m.WaitGraph(message.run, message.probe, True, []))
            return
        waits = WaitsOfRun(run)
        for add_waits in state.hooks.add_waits:
            add_waits(waits)
        is_quiet = (
            run.alive == run.blocked + len(run.asked)
            and not run.posting
            and not state.progress.has_to_tell_of(run.id)
        )
        state.send(
            m.WaitGraph(
                run.id,
                message.probe,
                is_quiet,
                waits.for_fibers,
                waits.for_locks,
                waits.held,
                waits.for_primitives,
                run.woken,
                waits.for_runs,
            )
        )
