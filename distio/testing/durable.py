"""A simulated cluster in which several clients submit one program under one name, and may crash.

When all clients have heard the end of the run, or are gone, another one joins, which attaches to
the run and has to hear the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, final

from msgspec.structs import replace

from distio.coordination.state.member import NamedRunAnswer
from distio.core.fiber import Fiber, Handle
from distio.core.ops.base import IO
from distio.core.snapshot import digest_of_program, dump_chunk
from distio.errors import InvariantBroken, ProcessExit
from distio.protocol import messages as m
from distio.protocol.domains import SNAPSHOTS, Snapshots
from distio.protocol.ids import name_of
from distio.protocol.pieces import joined
from distio.result import Result
from distio.runtime.pending_runs import PendingRun
from distio.runtime.records import tagging
from distio.testing.cases import LATENCY, MAX_STEPS, Case
from distio.testing.choices import Choices
from distio.testing.faults import Fault
from distio.testing.plan import Components, Plan
from distio.testing.processes import Process
from distio.testing.simulation import limits_of, plan_for, program_of, refcounts_only
from distio.testing.world import World

__all__ = ["DurableSimulation", "simulate_durable"]

_NAME: Final = "nightly"
_SUBMIT, _ATTACH, _CANCEL = 1, 2, 3
"""The numbers of the questions that a client asks."""


class DurableSimulation(NamedTuple):
    """The outcome of one simulation."""

    results: Sequence[Result[Any, Any]]
    """The Results that clients have heard which have lived long enough, each the same.

    A journal that goes back is no longer bound by what clients have heard: a run that ends again
    may then end in another way.
    """
    virtual_seconds: float
    restored: int
    """How often fibers went on after a loss."""
    history: str

    @property
    def result(self) -> Result[Any, Any]:
        """The Result that the first of these clients has heard."""
        return self.results[0]


def simulate_durable(
    main: IO[Any, Any, Any] | Callable[[], IO[Any, Any, Any]],
    context: Any = None,
    *,
    clients: int = 2,
    members: int = 2,
    threads: int = 1,
    seed: int = 0,
    faults: Sequence[Fault] = (),
    snapshots: Snapshots = SNAPSHOTS,
    components: Components = Components(),  # noqa: B008 (it is frozen)
) -> DurableSimulation:
    """Run a program under a name on a simulated cluster.

    Args:
        main: the program, or a function that makes it.
        context: the value that `io.read` computes.
        clients: how many clients submit it: "client", "client-2", ….
        members: the number of workers.
        threads: the number of threads in each process that step fibers.
        seed: decides what is left open.
        faults: what befalls the processes; a client that crashes doesn't return.
        snapshots: what is kept of the fibers of the run.
        components: see `simulate`.

    Raises:
        InvariantBroken: something doesn't hold that always must.
    """
    befalls = [fault for fault in faults if not (fault.process or "").startswith("client-")]
    plan = plan_for(members, threads, LATENCY, befalls, limits_of(MAX_STEPS, math.inf), snapshots)
    plan.faults = faults
    program = program_of(main)
    with refcounts_only(), tagging:
        world = _World(plan, Case(plan, seed, None).choices(), components, clients)
        world.run(program, context)
        seconds = world.now
        world.drain()
    return DurableSimulation(
        [*world.results.values()], seconds, world.ledger.restored, str(world.history)
    )


@final
class _World(World):
    """A world whose clients submit by name; it is over when one that comes last has heard the
    end."""

    family = ""  # nobody sees how the workers end: they belong to no client

    def __init__(self, plan: Plan, choices: Choices, components: Components, clients: int) -> None:
        super().__init__(plan, choices, components)
        self.results: dict[Process, Result[Any, Any]] = {}
        """The Results that clients have heard."""
        self._clients = [each for each in self.processes if each.kind == "client"]
        self._clients += [self.start(f"client-{n}", "client") for n in range(2, clients + 1)]
        self._end: m.NamedRunEnded | None = None
        """The end that the first of them has heard."""
        self._last: Process | None = None
        """The client that comes when all others have heard the end, or are gone."""

    # -- clients --------------------------------------------------------------------------

    def joined(self, process: Process) -> None:
        """A process has become a member; a client submits the program, or looks for the run."""
        self.note(process.name, f"joins as member {process.member.incarnation}")
        if process.member.incarnation not in self.hub.machine.members:
            process.disbelieve()
        if process.kind == "client" and self._program is not None:
            if process is self._last and self.pick(2):
                process.member.send(m.ActOnNamedRun(_ATTACH, _NAME, "attach"))
            else:
                self._submit(process, *self._program)

    def _submit(self, process: Process, program: IO[Any, Any, Any], context: Any) -> None:
        root = Fiber(0, 0, program, context)
        dumped = dump_chunk([root])
        chunk = m.Chunk(
            0,
            [(0, 0)],
            dumped.payload,
            attachments=[*dumped.attachments.items()],
            code=dumped.code,
        )
        digest = digest_of_program(root)
        message = m.SubmitNamedRun(_SUBMIT, _NAME, digest, chunk, self._plan.snapshots)
        process.member.send(message)

    def answered(self, process: Process, answer: NamedRunAnswer) -> None:
        """A client hears of the run."""
        if isinstance(answer, m.NamedRunRefused):
            assert self._program is not None
            self._require(answer.why == "unknown", 0, f"is refused: {answer.reason}")
            self._submit(process, *self._program)  # all who did so before were gone too soon
        elif isinstance(answer, m.NamedRunFound):
            run = answer.run.run
            if self.pending is None:
                self.pending = PendingRun(run, name_of(run), Handle(run))
            self._require(self.pending.run == run, run, "is a second run of one name")
            if self._is_interrupted and answer.question != _CANCEL:
                self.interrupt(process)
        elif isinstance(answer, m.NamedRunEnded):
            self._hears(process, answer)
        self._look_on()

    def _hears(self, process: Process, end: m.NamedRunEnded) -> None:
        """A client hears the end; all have to hear the same, but for a journal that goes back."""
        heard = PendingRun(end.run, name_of(end.run), Handle(end.run))
        heard.named_run_ended(end)
        self._require(process not in self.results, end.run, f"ends twice for {process.name}")
        self.results[process] = heard.result()
        assert self.pending is not None
        if not self.pending.is_over:
            self.pending.named_run_ended(end)
        # by its bytes: an exception that is opened twice is no longer equal to itself
        payload = None if end.payload is None else joined(end.payload)
        self._end = self._end or replace(end, payload=payload)
        agree = replace(end, payload=payload) == self._end
        self._require(agree or self.hub.has_gone_back, end.run, "has ended in two ways")

    def _look_on(self) -> None:
        """Let the last client come, and end with it."""
        waiting = [each for each in self._clients if not each.has_ended and not self._has(each)]
        if waiting:
            return
        if self._last is None or self._was_put_out(self._last):
            self._last = self.start("client-last", "client")
            self._clients.append(self._last)
            return
        self._require(self._has(self._last), 0, "has no client that hears its end")
        self.is_over = True

    def _has(self, client: Process) -> bool:
        return client in self.results

    def _was_put_out(self, client: Process) -> bool:
        """Whether the client came after the state that the journal went back to."""
        return self.hub.has_gone_back and client.has_ended and not self._has(client)

    # -- how processes end ----------------------------------------------------------------

    def has_exited(
        self, process: Process, reason: str, exit: ProcessExit, in_hand: list[m.InHand]
    ) -> None:
        """A process is no more; nobody reports it."""
        if process.kind == "worker":
            self._injector.has_exited(process)
        else:
            self._look_on()

    def interrupt(self, client: Process) -> None:
        """Cancel the run, by its name."""
        self._is_interrupted = True
        if self.pending is not None and not self.pending.is_over and client.has_joined:
            client.say(m.ActOnNamedRun(_CANCEL, _NAME, "cancel"))

    # -- the end --------------------------------------------------------------------------

    def drain(self) -> None:
        """Let all rest; see whether there was one run."""
        super().drain()
        started = self.hub.machine.features.named_runs.started
        # a journal may go back to before the run, when all have heard its end
        is_right = started == 1 or (self.hub.has_gone_back and not started)
        self._require(is_right, 0, f"was started {started} times")

    def _require(self, holds: bool, run: int, what: str) -> None:
        if not holds:
            raise InvariantBroken(f"run {name_of(run)} {what}", self.history.of(run))
