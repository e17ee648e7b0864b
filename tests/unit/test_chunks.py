"""How many items a fiber is given at a time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio.core.chunks import MOST_IN_CHUNK, ChunkSizes

TINY = 1e-6
SLOW = 0.02


def after(*chunks: tuple[int, float]) -> ChunkSizes:
    """What is chosen once chunks of so many items have taken so many seconds."""
    sizes = ChunkSizes(workers=4)
    for items, seconds in chunks:
        sizes.learn(items, seconds)
    return sizes


def test_the_first_chunk_has_one_item() -> None:
    assert ChunkSizes(4).next(None) == 1
    assert ChunkSizes(4).next(1_000_000) == 1


def test_tiny_items_come_in_chunks_that_grow_step_by_step() -> None:
    sizes = ChunkSizes(4)
    seen = []
    for _ in range(8):
        size = sizes.next(None)
        seen.append(size)
        sizes.learn(size, TINY * size)
    assert seen == [1, 4, 16, 64, 256, 1024, 4096, 4096]
    assert seen[-1] == MOST_IN_CHUNK


def test_slow_items_go_one_by_one() -> None:
    assert after((1, SLOW)).next(None) == 1
    assert after((1, 0.008)).next(None) == 1
    assert after((1, 3600.0)).next(None) == 1


def test_a_chunk_is_to_take_ten_to_twenty_milliseconds() -> None:
    sizes = ChunkSizes(4)
    for _ in range(20):
        size = sizes.next(None)
        sizes.learn(size, 0.0005 * size)
    assert 0.010 <= 0.0005 * sizes.next(None) <= 0.020


def test_items_that_become_slow_are_given_out_one_by_one_again() -> None:
    sizes = after(*[(4**n, TINY * 4**n) for n in range(6)])
    assert sizes.next(None) == 4096
    sizes.learn(4096, 4096 * SLOW)
    assert sizes.next(None) == 1


def test_a_small_chunk_that_was_given_out_earlier_does_not_shrink_the_next() -> None:
    assert after((1, TINY), (4, 4 * TINY), (1, TINY)).next(None) == 16


def test_near_the_end_nobody_gets_more_than_a_share_of_what_is_left() -> None:
    sizes = after(*[(4**n, TINY * 4**n) for n in range(6)])
    left, seen = 100, []
    while left:
        size = sizes.next(left)
        seen.append(size)
        left -= size
    assert seen[:5] == [25, 19, 14, 11, 8]
    assert seen[-4:] == [1, 1, 1, 1]
    assert sum(seen) == 100


@pytest.mark.parametrize("seconds", [-3600.0, -1e-9, math.nan])
def test_nothing_is_learned_from_a_clock_that_was_set_back(seconds: float) -> None:
    assert after((1, TINY), (4, seconds)).next(None) == 4
    assert after((1, SLOW), (1, seconds)).next(None) == 1


def test_a_clock_that_was_set_forward_costs_a_few_small_chunks() -> None:
    sizes = after((1, TINY), (4, 4 * TINY), (16, 3600.0))
    assert sizes.next(None) == 1
    sizes.learn(1, TINY)
    assert sizes.next(None) == 4


def test_what_takes_no_time_at_all_grows_too() -> None:
    """As in a simulation, where time passes only if nothing else can happen."""
    assert after((1, 0.0), (4, 0.0)).next(None) == 16


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(1, MOST_IN_CHUNK), st.floats())),
    st.none() | st.integers(1, 10**9),
)
def test_a_size_is_never_more_than_there_is_or_than_may_be(
    workers: int, chunks: list[tuple[int, float]], left: int | None
) -> None:
    sizes = ChunkSizes(workers)
    for items, seconds in chunks:
        sizes.learn(items, seconds)
    assert 1 <= sizes.next(left) <= min(MOST_IN_CHUNK, left or MOST_IN_CHUNK)
