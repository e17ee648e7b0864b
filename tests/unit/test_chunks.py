"""The number of items that a fiber is given at a time."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio.core.chunks import MOST_IN_CHUNK, ChunkSizes

TINY = 1e-6
SLOW = 0.02


def after(*chunks: tuple[int, float]) -> ChunkSizes:
    """The sizes once chunks of so many items have taken so many seconds."""
    sizes = ChunkSizes(workers=4)
    for items, seconds in chunks:
        sizes.learn(items, seconds)
    return sizes


def given_out(left: int, sizes: ChunkSizes) -> list[int]:
    """The sizes of the chunks in which so many items go, if nothing more is learned."""
    seen = []
    while left:
        seen.append(sizes.next(left))
        left -= seen[-1]
    return seen


def test_chunk_sizes_begin_with_one_item() -> None:
    assert ChunkSizes(4).next(None) == 1
    assert ChunkSizes(4).next(1_000_000) == 1


def test_chunk_sizes_of_tiny_items_grow_step_by_step() -> None:
    sizes = ChunkSizes(4)
    seen = []
    for _ in range(6):
        size = sizes.next(None)
        seen.append(size)
        sizes.learn(size, TINY * size)
    assert seen == [1, 8, 64, 512, 4096, 4096]
    assert seen[-1] == MOST_IN_CHUNK


def test_chunk_sizes_of_slow_items_are_one() -> None:
    assert after((1, SLOW)).next(None) == 1
    assert after((1, 0.0101)).next(None) == 1
    assert after((1, 3600.0)).next(None) == 1


def test_chunk_sizes_come_as_near_to_the_aim_as_whole_items_can() -> None:
    assert after((1, 0.0099)).next(None) == 2
    sizes = ChunkSizes(4, longest=0.15)
    sizes.next(64)
    sizes.learn(1, 0.0503)
    assert sizes.next(63) == 3


def test_chunk_sizes_aim_at_ten_to_twenty_milliseconds() -> None:
    sizes = ChunkSizes(4)
    for _ in range(20):
        size = sizes.next(None)
        sizes.learn(size, 0.0005 * size)
    assert 0.010 <= 0.0005 * sizes.next(None) <= 0.020


def test_chunk_sizes_of_items_that_become_slow_are_one_again() -> None:
    sizes = after(*[(8**n, TINY * 8**n) for n in range(4)])
    assert sizes.next(None) == 4096
    sizes.learn(4096, 4096 * SLOW)
    assert sizes.next(None) == 1


def test_chunk_sizes_ignore_small_chunks_that_were_given_out_earlier() -> None:
    assert after((1, TINY), (8, 8 * TINY), (1, TINY)).next(None) == 64


def test_chunk_sizes_near_the_end_are_at_most_a_share_of_the_rest() -> None:
    seen = given_out(100, after(*[(8**n, TINY * 8**n) for n in range(4)]))
    assert seen[:5] == [25, 19, 14, 11, 8]
    assert seen[-4:] == [1, 1, 1, 1]
    assert sum(seen) == 100


@pytest.mark.parametrize("seconds", [-3600.0, -1e-9, math.nan])
def test_chunk_sizes_learn_nothing_from_a_clock_that_was_set_back(seconds: float) -> None:
    assert after((1, TINY), (4, seconds)).next(None) == 8
    assert after((1, SLOW), (1, seconds)).next(None) == 1


def test_chunk_sizes_recover_from_a_clock_that_was_set_forward() -> None:
    sizes = after((1, TINY), (4, 4 * TINY), (16, 3600.0))
    assert sizes.next(None) == 1
    sizes.learn(1, TINY)
    assert sizes.next(None) == 8


def test_chunk_sizes_of_items_that_take_no_time_grow() -> None:
    """In a simulation, time passes only if nothing else can happen."""
    assert after((1, 0.0), (8, 0.0)).next(None) == 64


def test_chunk_sizes_where_chunks_cost_much_grow_with_the_time_worked() -> None:
    sizes = ChunkSizes(4, longest=0.15)
    assert sizes.aim == 0.015
    sizes.learn(1, 0.96)
    assert sizes.aim == pytest.approx(0.06)
    sizes.learn(1, 3600.0)
    assert sizes.aim == 0.15


def test_chunk_sizes_where_chunks_cost_much_are_long_at_once_if_the_end_is_in_sight() -> None:
    sizes = ChunkSizes(4, longest=0.15)
    for _ in range(5):
        size = sizes.next(1_000_000)
        sizes.learn(size, 0.0005 * size)
    assert sizes.next(1_000_000) == 300


def test_chunk_sizes_where_chunks_cost_much_shrink_to_four_milliseconds() -> None:
    sizes = ChunkSizes(4, longest=0.15)
    sizes.next(100)
    sizes.learn(50, 0.0005 * 50)
    assert given_out(40, sizes) == [10, 8, 8, 8, 6]


@pytest.mark.slow
@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(1, MOST_IN_CHUNK), st.floats())),
    st.none() | st.integers(1, 10**9),
)
def test_chunk_sizes_are_never_more_than_the_rest_or_the_limit(
    workers: int, chunks: list[tuple[int, float]], left: int | None
) -> None:
    sizes = ChunkSizes(workers)
    for items, seconds in chunks:
        sizes.learn(items, seconds)
    assert 1 <= sizes.next(left) <= min(MOST_IN_CHUNK, left or MOST_IN_CHUNK)
