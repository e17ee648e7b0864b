"""A member's part in locks and variables: fibers that ask for them, and what they are given.

Whose turn it is decides the coordinator. What a fiber holds is in the fiber (`Fiber.holds`) and
travels with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from distio.core.fiber import Fiber, Handle, Held
from distio.core.snapshot import PackedValue
from distio.errors import MatchError, TracedException
from distio.protocol import messages as m
from distio.protocol.requests import NOTHING, Acquire, Lock, MakeLock
from distio.result import Panic

if TYPE_CHECKING:
    from distio.coordination.member.machine import Member

__all__ = ["acquire", "granted", "make_lock", "refused", "release"]


def make_lock(member: Member, fiber: Fiber, request: MakeLock) -> None:
    """Answer with a new lock; with a value, a variable."""
    key = member.next_ids(1)
    fiber.value = Lock(key, has_value=request.value is not NOTHING)
    if request.value is NOTHING:
        return
    run = member.runs[fiber.run]
    if member.keeps_values:
        member.values[key] = request.value
        run.values.append(key)
    member.export(run, request.handles)
    member.outbox.append(m.StoreValue(fiber.run, key, request.payload))


def acquire(member: Member, fiber: Fiber, lock: Lock) -> None:
    """Park the fiber until the lock is its."""
    member.parked[fiber.id] = fiber
    if not lock.is_limit:
        member.runs[fiber.run].block(1)
    member.outbox.append(
        m.AcquireLock(fiber.run, fiber.id, fiber.epoch, lock.key, lock.tokens, lock.per_seconds)
    )


def release(
    member: Member,
    fiber: Fiber,
    key: int | str,
    payload: bytes | None = None,
    handles: Sequence[Handle[Any, Any, Any]] = (),
) -> None:
    """The fiber, which holds it, gives a lock back, with its variable's value if that is new."""
    assert fiber.holds is not None
    held = fiber.holds[key]
    held.count -= 1
    if not held.count:
        del fiber.holds[key]
    if member.keeps_values and held.is_changed:
        member.values[key] = held.value
    member.export(member.runs[fiber.run], handles)
    member.outbox.append(m.ReleaseLock(fiber.run, fiber.id, fiber.epoch, key, payload))


def granted(member: Member, message: m.LockGranted) -> None:
    """The lock is the fiber's."""
    fiber = _waiting(member, message)
    if fiber is None:
        return
    request = fiber.request
    assert isinstance(request, Acquire)
    fiber.value = None
    if request.lock.is_limit:
        member.unpark(fiber)
        return
    is_there = message.lock in member.values if member.keeps_values else bool(message.value)
    if request.lock.has_value and not is_there:
        member.outbox.append(m.ReleaseLock(fiber.run, fiber.id, fiber.epoch, message.lock, None))
        _fail(fiber, "this Var belongs to a run that is over, and its value is gone with it")
        member.unpark(fiber)
        return
    value: Any = PackedValue(message.value) if message.value else None
    if member.keeps_values:
        value = member.values.get(message.lock)
    holds = fiber.holds = fiber.holds or {}
    if message.lock in holds:
        holds[message.lock].count += 1
    else:
        holds[message.lock] = Held(value)
    fiber.value = value
    member.unpark(fiber)


def refused(member: Member, message: m.LockRefused) -> None:
    """The fiber can't have the lock."""
    fiber = _waiting(member, message)
    if fiber is not None:
        _fail(fiber, message.reason)
        member.unpark(fiber)


def _fail(fiber: Fiber, reason: str) -> None:
    refusal = MatchError(reason)
    fiber.failure = Panic([TracedException(refusal, str(refusal))], [])


def _waiting(member: Member, message: m.LockGranted | m.LockRefused) -> Fiber | None:
    """The fiber that waits for this lock, which it does no longer; None if none does."""
    fiber = member.parked.get(message.fiber)
    if fiber is not None and fiber.epoch == message.epoch and isinstance(fiber.request, Acquire):
        lock = fiber.request.lock
        if lock.key == message.lock:
            if not lock.is_limit:
                member.runs[fiber.run].block(-1)
            return fiber
    member.stale += 1
    return None
