"""A run of which the coordinator has lost track is cancelled, releases, and is over in time."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest

from distio import IO, Ok, Panic, Queue, Resource, io, resource
from distio.coordination.locks.coordinator import Locks
from distio.coordination.outcomes.coordinator import Outcomes
from distio.coordination.placement.coordinator import Placement
from distio.coordination.primitives.coordinator import Primitives
from distio.coordination.runs.coordinator import Runs
from distio.coordination.timers.coordinator import Timers
from distio.errors import ClusterClosed
from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from distio.testing import simulate
from distio.testing.hub import Hub
from tests.harness.in_one_thread import Scene, outcome_of

Program = IO[Any, Any, Any]

ROOT: Final = fiber_id(1, 0)
"""The first run of a client that is the first member."""


PARTS: Final[dict[type, tuple[type, str]]] = {
    m.AcquireTokens: (Locks, "acquire"),
    m.AwaitOutcomes: (Outcomes, "await_outcomes"),
    m.MakePrimitive: (Primitives, "make"),
    m.Offer: (Placement, "_take_offer"),
    m.PrimitiveCall: (Primitives, "call"),
    m.Progress: (Runs, "_progress_of"),
    m.StartTimer: (Timers, "start_timer"),
}
"""By message: the method that handles what the message says of one run."""


class Planted(Exception):
    """The exception that planted handlers raise."""


def plant(
    monkeypatch: pytest.MonkeyPatch, kind: type, nth: int, run: int | None = None
) -> list[int]:
    """Let a handler raise for one run, or for each, from the nth message on; return its calls.

    Call this before there is a coordinator, which binds its handlers once.
    """
    owner, method = PARTS[kind]
    whole = getattr(owner, method)
    calls: list[int] = []

    def fails(feature: Any, member: Any, message: Any, *more: Any) -> None:
        if run is None or message.run == run:
            calls.append(1)
            if len(calls) >= nth:
                raise Planted(kind.__name__)
        whole(feature, member, message, *more)

    monkeypatch.setattr(owner, method, fails)
    return calls


OPENED: Final[list[str]] = []
CLOSED: Final[list[str]] = []


def opens(name: str) -> None:
    OPENED.append(name)


def closes(name: str) -> None:
    CLOSED.append(name)


@pytest.fixture(autouse=True)
def _books() -> None:
    OPENED.clear()
    CLOSED.clear()


def held(name: str) -> Resource[Any, Any, None]:
    return resource.from_open_close(partial(opens, name), lambda *_: closes(name))


@io.do
async def holds(name: str) -> int:
    """Fibers on all members that hold resources, and wait in all ways."""
    lock, queue = resource.lock(f"door of {name}"), await Queue.create(1)

    def one(n: int) -> Program:
        waits = [io.sleep(0.5), lock.with_(io.sleep(0.1)), queue.put(n).then(io.sleep(0.2))]
        return held(f"{name} {n}").with_(waits[n % 3].then(io.sleep(0.1)))

    @io.do
    async def takes() -> int:
        return sum([await queue.take() for _ in range(4)])

    total: int
    later = await io.parallel([io.pure(n) for n in range(4)])
    await io.sleep(0.01)
    for fiber in later:
        await io.wait(fiber)  # what is waited for at once is asked for by the offer
    _, total = await io.zip_par(io.zip_par([one(n) for n in range(12)]), takes())
    return total


SAID: Final = [m.StartTimer, m.AcquireTokens, m.PrimitiveCall, m.AwaitOutcomes, m.Progress, m.Offer]
WHEN: Final = [(m.MakePrimitive, 1), *[(kind, nth) for kind in SAID for nth in (1, 2, 4)]]
OFTEN_SAID: Final[set[type]] = {m.StartTimer, m.PrimitiveCall, m.Progress}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "nth"), WHEN)
def test_run_whose_handler_fails_releases_and_other_runs_go_on(
    kind: type, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = plant(monkeypatch, kind, nth, ROOT)
    scene = Scene(workers=2)
    scene.start(holds("spoilt"))
    other = scene.start(holds("other"))
    scene.finish()
    assert len(calls) >= nth
    assert outcome_of(other) == Ok(26)
    assert sorted(CLOSED) == sorted(OPENED)
    assert len([name for name in CLOSED if name.startswith("other")]) == 12
    assert [each.reason for each in scene.members] == [None] * 3
    scene.machine.validate_rest()


def tolerate(hub: Hub) -> None:
    """Check the coordinator of a simulation in which a handler was meant to fail."""
    hub.board.incidents.clear()
    hub.machine.validate()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*SAID, m.MakePrimitive])
def test_simulated_run_whose_handler_fails_releases_all_that_it_holds(
    kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "validate", tolerate)
    for seed in range(20):
        nth = 1 + seed % 5 if kind in OFTEN_SAID else 1
        with monkeypatch.context() as patch:
            calls = plant(patch, kind, nth)
            simulation = simulate(holds("spoilt"), seed=seed)
        assert len(calls) >= nth
        assert isinstance(simulation.result, Panic)
        lost_track = simulation.result.exceptions[0].exception
        assert isinstance(lost_track, ClusterClosed)
        assert "the coordinator lost track of this run" in str(lost_track)
        assert sorted(CLOSED) == sorted(OPENED)
        assert simulation.virtual_seconds < 12
