"""Values that no message can carry as they are work, or are refused, the same everywhere."""

from __future__ import annotations

import enum
import logging
import math
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import IO, Barrier, CountDownLatch, MatchError, Ok, Panic, PubSub, Queue, io, resource
from distio.protocol.codec import from_member
from distio.protocol.messages.logs import SetLogLevels
from distio.protocol.text import as_given, readable, sendable
from distio.runtime.deliveries import levels_now
from tests.conftest import Run, run_at

Program = IO[Any, Any, Any]


class Text(str):
    """A str that calls itself something else."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Word(enum.StrEnum):
    PRINTER = "printer"


class Whole(int):
    """An int of a kind that no message knows."""


class Size(enum.IntEnum):
    SMALL = 3


class Seconds(float):
    """A float of a kind that no message knows."""


# -- names ------------------------------------------------------------------------------------

NAMES = {
    "not UTF-8": os.fsdecode(b"caf\xe9.txt"),
    "all sorts": "\ud800 \\udce9 \\ \0 é \U0001f600",
    "a mark": "\0caf\\udce9",
    "of a subclass": Text("printer"),
    "of an enum": Word.PRINTER,
    "long": "x" * 200_000,
}


def use(of: Any) -> Program:
    program: Program = of.with_(io.pure("used"))
    return program


NAMED: dict[str, Callable[[str], Program]] = {
    "lock": lambda name: use(resource.lock(name)),
    "semaphore": lambda name: resource.semaphore(2, name=f"{name} 2").flat_map(use),
    "rate limit": lambda name: resource.rate_limit(2, 0.001, name=name + " 3").flat_map(use),
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("what", NAMED)
def test_lock_may_have_any_name(run: Run, what: str, name: str) -> None:
    program = NAMED[what](name)
    assert run(io.zip_par(program, program)) == Ok(("used", "used"))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_fiber_may_have_any_name(run: Run, name: str) -> None:
    @io.do
    async def ask(handle: Any) -> Any:
        return (await handle.status()).name

    @io.do
    async def main() -> list[Any]:
        (sleeper,) = await io.parallel([io.sleep(3).named(name)])
        while (await sleeper.status()).state != "sleeps":
            await io.yield_
        names = await io.zip_par(ask(sleeper), ask(sleeper))
        await sleeper.cancel()
        return [*names]

    plain = str.__str__(name)
    result = run(main())
    assert result == Ok([plain, plain])
    assert [type(each) for each in result.unsafe_get()] == [str, str]


def test_lock_names_that_look_alike_when_escaped_are_two_locks(run: Run) -> None:
    odd, plain = "caf\udce9", "caf\\udce9"
    nested = resource.lock(odd).with_(io.zip_par(use(resource.lock(plain))))
    assert run(nested) == Ok(("used",))


def test_lock_name_in_use_for_another_kind_is_shown_as_it_was_given(run: Run) -> None:
    name = os.fsdecode(b"gar\xe7on")
    both = resource.lock(name).with_(resource.semaphore(2, name=name).flat_map(use))
    result = run(both)
    assert isinstance(result, Panic)
    (traced,) = result.exceptions
    assert str(traced.exception).startswith(f"{name!r} is in use as a reentrant lock")


@pytest.mark.slow
@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_sendable_text_stands_for_one_text(one: str, other: str) -> None:
    sendable(one).encode()
    assert as_given(sendable(one)) == one
    assert (sendable(one) == sendable(other)) == (one == other)
    readable(one).encode()


# -- numbers ----------------------------------------------------------------------------------

LARGEST = 2**63 - 1
SIZED: dict[str, Callable[[int], Program]] = {
    "queue": lambda n: Queue.create(n).flat_map(lambda q: q.put(1).then(q.take())),
    "topic": lambda n: PubSub.create(n).flat_map(lambda topic: topic.publish(1)),
    "barrier": lambda n: Barrier.create(n).map(lambda barrier: None),
    "latch": lambda n: CountDownLatch.create(n).flat_map(lambda latch: latch.count_down(n)),
    "count": lambda n: CountDownLatch.create(1).flat_map(lambda latch: latch.count_down(n)),
    "semaphore": lambda n: resource.semaphore(n).flat_map(use),
    "rate limit": lambda n: resource.rate_limit(n, 1.0).flat_map(use),
}


def outcome_of(run: Run, make: Callable[[], Program]) -> Any:
    """The outcome of a program, or the exception with which it can't be made."""
    try:
        program = make()
    except (MatchError, ValueError) as error:
        return error
    result = run(program)
    return result.exceptions[0].exception if isinstance(result, Panic) else result


@pytest.mark.parametrize("what", SIZED)
@pytest.mark.parametrize("size", [LARGEST, Whole(3), Size.SMALL])
def test_size_up_to_the_largest_works(run: Run, what: str, size: int) -> None:
    assert isinstance(outcome_of(run, lambda: SIZED[what](size)), Ok)


@pytest.mark.parametrize("what", SIZED)
@pytest.mark.parametrize("size", [LARGEST + 1, 2**64, 10**400])
def test_size_above_the_largest_is_a_match_error(run: Run, what: str, size: int) -> None:
    error = outcome_of(run, lambda: SIZED[what](size))
    assert isinstance(error, MatchError)
    assert "2**63 - 1" in str(error)


TIMED: dict[str, Callable[[Any, float], Program]] = {
    "sleep": lambda s, most: io.race(io.sleep(s), io.sleep(most)),
    "sleep_until": lambda s, most: io.race(io.sleep_until(s), io.sleep(most)),
    "timeout": lambda s, most: io.pure(1).timeout(s),
    "rate limit": lambda s, most: resource.rate_limit(1, s).flat_map(use),
}
"""Each takes a time, and ends after `most` seconds if that is a long one."""


@pytest.mark.parametrize("what", TIMED)
@pytest.mark.parametrize("seconds", [1e-300, 1e300, 1.7e308, 2**70, Seconds(0.01), Whole(1)])
def test_time_that_a_float_can_hold_works(run: Run, what: str, seconds: float) -> None:
    assert isinstance(outcome_of(run, lambda: TIMED[what](seconds, 0.01)), Ok)


@pytest.mark.parametrize("what", TIMED)
@pytest.mark.parametrize("seconds", [math.nan, math.inf, -math.inf, 10**400, True, "1"])
def test_time_that_no_float_can_hold_is_a_match_error(run: Run, what: str, seconds: Any) -> None:
    assert isinstance(outcome_of(run, lambda: TIMED[what](seconds, 60)), MatchError)


# -- pickled values ---------------------------------------------------------------------------


class Unwilling:
    """A value that refuses to be pickled, in a way of its own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Textless(Exception):
    """An exception whose text is broken."""

    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize("error", [SystemExit(3), MemoryError(), Textless()], ids=type)
def test_value_that_refuses_to_be_pickled_stays_or_is_a_panic(error: BaseException) -> None:
    odd = Unwilling(error)
    stays = io.zip_par([io.defer(lambda: odd is not None)] * 3)
    assert run_at("cluster", stays) == Ok([True] * 3)
    there = io.zip_par(io.defer(lambda: Unwilling(SystemExit(3))))
    result = run_at("cluster", there.attempt())
    assert isinstance(result.unsafe_get(), Panic)
    put = Queue.create().flat_map(lambda queue: queue.put(odd)).attempt()
    assert isinstance(run_at("cluster", put).unsafe_get(), Panic)
    assert run_at("cluster", io.zip_par(io.defer(int))) == Ok((0,))


def test_log_level_of_any_size_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for index, level in enumerate([-(2**70), 2**70, Whole(7), Size.SMALL]):
        logger = logging.getLogger(Text(f"odd values {index}"))
        monkeypatch.setattr(logger, "level", level)
    monkeypatch.setattr(logging.root.manager, "_disable", Whole(-1))
    from_member.encode([SetLogLevels(levels_now())])
