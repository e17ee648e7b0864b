"""The books of locks: what is lent to which member, which fibers wait there, when windows end."""

from __future__ import annotations

import pytest

from distio.coordination.locks.books import LockBooks
from distio.coordination.locks.queue import Waiting
from distio.coordination.locks.record import LockRecord
from distio.coordination.locks.windows import Windows
from distio.errors import DistioBug


def waiting(fiber: int, member: int = 2, run: int = 1) -> Waiting:
    return Waiting(fiber, member, run, fiber)


def test_member_has_the_locks_that_were_lent_to_it_or_that_its_fibers_wait_for() -> None:
    books, lent, awaited = LockBooks(), LockRecord(2, 0.0), LockRecord(0, 0.0)
    books.lend("lent", lent, 2, 2)
    books.enter("awaited", awaited, [waiting(5), waiting(6)])
    assert books.locks_of(2) == ["lent", "awaited"]
    assert (books.locks_of(3), books.waiting_at(2), books.waiting) == ([], {1: 2}, 2)
    books.lend("lent", lent, 2, -2)
    books.leave("awaited", awaited, waiting(5))
    assert books.locks_of(2) == ["awaited"]
    books.leave("awaited", awaited, waiting(6))
    assert (books.locks_of(2), len(books)) == ([], 0)


def test_fibers_that_wait_for_a_limit_are_no_reason_to_suspect_a_deadlock() -> None:
    books, limit = LockBooks(), LockRecord(1, 0.5)
    books.enter("limit", limit, [waiting(5)])
    assert (books.locks_of(2), books.waiting_at(2)) == (["limit"], {})


def test_books_that_are_counted_anew_forget_members_that_are_none() -> None:
    books, lock = LockBooks(), LockRecord(3, 0.0)
    books.lend("lock", lock, 2, 1)
    books.lend("lock", lock, 9, 2)
    books.enter("lock", lock, [waiting(5)])
    books.enter("lock", lock, [waiting(6, member=9)])
    books.count_anew({"lock": lock}, {2})
    books.validate({"lock": lock})
    assert (lock.lent, lock.free, [each.fiber for each in lock.queue]) == ({2: 1}, 2, [5])
    assert (books.locks_of(2), books.locks_of(9)) == (["lock"], [])


def test_books_that_miss_a_token_or_a_fiber_are_not_valid() -> None:
    books, lock = LockBooks(), LockRecord(0, 0.0)
    lock.lend(2, 1)
    with pytest.raises(DistioBug, match="members have or wait for"):
        books.validate({"lock": lock})
    lock.lend(2, -1)
    lock.queue.add(waiting(5))
    with pytest.raises(DistioBug, match="1 fibers wait for locks"):
        books.validate({"lock": lock})


def test_all_tokens_are_lent_to_a_member_that_waits_alone_and_else_one_for_each_turn() -> None:
    books, semaphore = LockBooks(), LockRecord(3, 0.0)
    turns = [waiting(5), waiting(6)]
    books.enter("lock", semaphore, turns)
    assert semaphore.loan_for(turns) == (3, True)
    books.enter("lock", semaphore, [waiting(7, member=3)])
    assert semaphore.loan_for(turns) == (2, False)


def test_all_that_is_left_is_not_delegated_while_another_member_has_tokens() -> None:
    books, semaphore = LockBooks(), LockRecord(3, 0.0)
    books.lend("lock", semaphore, 3, 1)
    books.enter("lock", semaphore, [waiting(5)])
    assert semaphore.loan_for([waiting(5)]) == (1, False)


def test_reentrant_lock_is_lent_as_one_token_for_all_turns() -> None:
    books, lock = LockBooks(), LockRecord(0, 0.0)
    turns = [waiting(5), waiting(6)]
    books.enter("lock", lock, [*turns, waiting(7)])
    assert lock.loan_for(turns) == (1, False)


def test_windows_end_in_order_and_those_that_end_together_as_they_began() -> None:
    windows = Windows()
    assert windows.next_end is None
    windows.begin("later", 2.0)
    windows.begin(7, 1.0)
    windows.begin("first", 0.5)
    windows.begin("named", 1.0)
    assert windows.take_ended(0.4) is None
    assert [windows.take_ended(1.0) for _ in range(4)] == ["first", 7, "named", None]
    assert windows.take_ended(2.0) == "later"
