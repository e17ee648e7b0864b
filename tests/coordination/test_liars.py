"""An admitted member that says whatever it likes harms no run but its own.

The lies are messages of all types, well-typed, about ids that exist: those of runs, fibers, locks,
primitives and members of others, and of the liar itself.
"""

from __future__ import annotations

import os
from enum import Enum
from random import Random
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from distio import Ok, Queue, Result, Var, io, resource
from distio.coordination.coordinator import _RULES, _UNCHECKED
from distio.errors import ProcessExit
from distio.protocol import messages as m
from distio.protocol.domains import MemberKind
from distio.protocol.ids import fiber_id
from distio.protocol.messages.overview import AskToCancel
from tests.coordination.test_gate_fuzz import RIGHT, session
from tests.harness.in_one_thread import Honest, Liar, Scene, outcome_of

EXAMPLES: Final = int(os.environ.get("TESTS_LIARS", "5"))
"""How many liars the suite meets; set it to meet more."""
LIES_EACH: Final = 60

KINDS: Final[list[type[m.MemberMessage]]] = [
    kind for kind in m.MemberMessage.__subclasses__() if kind not in (*m.HANDSHAKE, m.RenewLease)
]
LIES: Final = [kind for kind in KINDS if kind not in (m.DrainMember, AskToCancel)]
"""The kinds of lies, without those that are rights: a client may have workers leave, or cancel
runs."""
WORDS: Final = ["", "door", "nightly", "x\ny", "worker 2", "2", "3", "put", "lost", "w" * 3_000]
BYTES: Final = [b"", b"junk", b"d" * 16, b"\x80\x05K\x63."]
SECONDS: Final = [0.0, 0.0, 0.001, 70.0, 1e300]
PLAIN: Final[dict[Any, list[Any]]] = {
    bool: [False, True],
    str: WORDS,
    bytes: BYTES,
    float: SECONDS,
    NoneType: [None],
}


def test_each_message_has_a_rule_or_says_that_it_needs_none() -> None:
    assert {*KINDS} == _RULES.kinds | _UNCHECKED.kinds
    assert not _RULES.kinds & _UNCHECKED.kinds


def test_each_message_is_for_some_role() -> None:
    for kind in KINDS:
        assert {*kind.roles} <= {"client", "observer", "worker"}
        assert kind.roles


# -- lies -------------------------------------------------------------------------------------


class Lies:
    """Messages about what there is."""

    def __init__(self, rng: Random, scene: Scene, liar: int) -> None:
        self._rng = rng
        state = scene.machine.state
        homes = [0, *state.members, state.next_incarnation]
        own = [fiber_id(liar, each) for each in range(4)]
        near = [fiber_id(home, each) for home in homes for each in range(6)]
        known = [*state.fibers, *state.runs, *scene.machine.features.references._known]
        self._runs = [own[0], own[0], *state.runs, 77]
        self._ids = [*own, *own, *near, *known, *known, *homes]
        self._numbers = [0, 0, 1, 1, 2, 3, 64, 2**40, 2**53, 2**63 - 1]

    def say(self, kind: type[m.MemberMessage]) -> m.MemberMessage:
        return self._of(kind)  # type: ignore[no-any-return]  # it is made of its type

    def _of(self, hint: Any) -> Any:
        rng, origin, args = self._rng, get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._within(args[0], args[1:])
        if origin in (Union, UnionType):
            return self._of(rng.choice(args))
        if origin is Literal:
            return rng.choice(args)
        if origin is list:
            return [self._of(args[0]) for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))]
        if origin is dict:
            return {self._of(args[0]): self._of(args[1])}
        if origin is tuple:
            return tuple(self._of(arg) for arg in args if arg is not Ellipsis)
        if hint is ProcessExit:
            return ProcessExit(rng.choice([None, -1, 2**40]), rng.choice([None, "w" * 3_000]))
        if isinstance(hint, type) and issubclass(hint, Enum):
            return rng.choice([*hint])
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self._struct(hint)
        plain: dict[Any, list[Any]] = {
            bool: [False, True],
            str: WORDS,
            bytes: BYTES,
            float: SECONDS,
            NoneType: [None],
        }
        return rng.choice(plain.get(hint, self._ids))

    def _within(self, hint: Any, marks: tuple[Any, ...]) -> Any:
        limits = next((each for each in marks if isinstance(each, msgspec.Meta)), msgspec.Meta())
        for _ in range(20):
            value = self._of(hint)
            if hint is int and self._rng.random() < 0.4:
                value = self._rng.choice(self._numbers)
            if _fits(value, limits):
                return value
        return {int: 1, str: "nightly", bytes: b"d" * 16}.get(hint, [(1, 0)])

    def _struct(self, struct: type[msgspec.Struct]) -> Any:
        hints = get_type_hints(struct, include_extras=True)
        required = struct.__struct_fields__[
            : len(struct.__struct_fields__) - len(struct.__struct_defaults__)
        ]
        return struct(
            **{
                name: self._rng.choice(self._runs)
                if name == "run" and self._rng.random() < 0.8
                else self._of(hints[name])
                for name in struct.__struct_fields__
                if name in required or self._rng.random() < 0.4
            }
        )


def _fits(value: Any, limits: msgspec.Meta) -> bool:
    if isinstance(value, int | float):
        return (limits.ge is None or value >= limits.ge) and (
            limits.le is None or value <= limits.le
        )
    return (limits.min_length or 0) <= len(value) <= (limits.max_length or 10_000)


def half_true(rng: Random, lies: Lies, liar: int) -> list[m.MemberMessage]:
    """Messages about the liar's own run, that the next lies build upon."""
    run, key = fiber_id(liar, 0), fiber_id(liar, rng.randrange(1, 6))
    return [
        rng.choice(
            [
                m.StartRun(run, rng.choice(["off", "births", "suspensions"])),
                m.Progress(0, 0, [m.RunProgress(run, [(1, 5)], 0, [], 0)]),
                m.Offer([m.Chunk(run, [(fiber_id(liar, rng.randrange(6)), 0)], b"junk")]),
                m.MakePrimitive(run, key, rng.choice(["queue", "latch", "topic"]), 1),
                m.MakePrimitive(run, key, "queue", -1),
                m.PrimitiveCall(run, run, key, rng.choice(["take", "wait", "size"]), 0, None),
                m.PrimitiveCall(run, run, key, "put", 0, b"item"),
                m.StoreValue(run, key, b"junk", is_new=True),
                m.AcquireTokens(key, 0, 0.0, run, [run]),
                m.StartTimer(run, run, 1, 0.001),
            ]
        )
    ]


def tells(scene: Scene, liar: Liar, rng: Random) -> None:
    """Say one thing."""
    lies = Lies(rng, scene, liar.id)
    if rng.random() < 0.4:
        liar.says(*half_true(rng, lies, liar.id))
    else:
        liar.says(lies.say(rng.choice(LIES)))


def enters(scene: Scene, rng: Random, kind: MemberKind, number: int) -> Liar:
    liar = Liar(scene, kind, f"liar {number}")
    if rng.random() < 0.9:
        liar.says(m.StartRun(fiber_id(liar.id, 0), rng.choice(["off", "suspensions"])))
    return liar


def ends_named_runs(scene: Scene) -> None:
    """Runs that have a name outlive their clients: another client cancels and forgets them."""
    other = Liar(scene, "client", "cleaner")
    named = scene.machine.features.named_runs
    names = [*named._by_name]
    other.says(*[m.ActOnNamedRun(1, name, "cancel") for name in names])
    scene.finish()
    other.says(*[m.ActOnNamedRun(1, name, "forget") for name in names])
    assert not named._by_name
    other.disconnect()


liars = settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # a seed doesn't shrink
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.slow
@liars
@given(st.integers(0, 2**32))
def test_client_that_lies_with_all_messages_leaves_an_honest_run_alone(seed: int) -> None:
    rng = Random(seed)
    scene = Scene()
    handle = scene.start(session())
    for _ in range(rng.randrange(60)):
        scene.step()
    told, number = 0, 0
    while told < LIES_EACH:
        number += 1
        liar = enters(scene, rng, rng.choice(["client", "supervisor"]), number)
        for _ in range(rng.choice([1, 3, 10])):
            if liar.reason is None:
                told += 1
                tells(scene, liar, rng)
            for _ in range(rng.choice([0, 0, 1, 3])):
                scene.step()
        liar.disconnect()
    scene.finish()
    ends_named_runs(scene)
    scene.finish()
    assert outcome_of(handle) == RIGHT
    assert not [error for _, _, error in scene.board.incidents if error]
    assert [each.reason for each in scene.members] == [None] * 3
    assert [*scene.machine.members] == [1, 2, 3]
    scene.machine.validate_rest()


@io.do
async def alone() -> list[int]:
    """A run whose only fiber stays at its client."""
    lock, var, queue = resource.lock("alone"), await Var.create(0), await Queue.create()
    for each in range(12):
        await lock.with_(var.update(lambda n: (n + 1, None)).then(io.sleep(0.002)))
        await queue.put(each)
    return [await var.get(), *[await queue.take() for _ in range(12)]]


ALONE: Result[Any, Any] = Ok([12, *range(12)])


@pytest.mark.slow
@liars
@given(st.integers(0, 2**32))
def test_worker_that_lies_with_all_messages_harms_no_run_in_which_it_has_no_part(
    seed: int,
) -> None:
    rng = Random(seed)
    scene = Scene(workers=1)
    other = Honest(scene, "client", "other")
    scene.members.append(other)
    harmed = scene.start(session())
    root = other.node.member.start_root(alone(), None)
    other.node.member.queue(root)
    assert root.handle is not None
    told, number = 0, 0
    while told < LIES_EACH:
        number += 1
        liar = enters(scene, rng, "worker", number)
        for _ in range(rng.choice([1, 5, 20])):
            if liar.reason is None:
                told += 1
                tells(scene, liar, rng)
            for _ in range(rng.choice([0, 0, 1, 3])):
                scene.step()
        liar.disconnect()
    scene.finish()
    assert outcome_of(root.handle) == ALONE
    assert harmed.outcome is not None or not scene.client.node.member.state.runs
    assert not [error for _, _, error in scene.board.incidents if error]
    assert [each.reason for each in scene.members] == [None] * 3
    scene.machine.validate_rest()
