"""Objects that are pickled once: see `distio.core.pickling.once`."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from distio.core.pickling.dumping import dump
from distio.core.pickling.loading import load
from distio.core.pickling.once import once
from distio.core.pickling.payloads import LARGE_VALUE, Dumped, Writer
from tests.conftest import PATIENCE

LARGE = b"x" * LARGE_VALUE


class Model:
    """An object of the user that drags something large along."""

    pickles = 0

    def __init__(self) -> None:
        self.weights = LARGE

    def __getstate__(self) -> dict[str, Any]:
        Model.pickles += 1
        return vars(self)

    def size(self, n: int) -> int:
        return len(self.weights) + n


def test_object_with_a_large_part_is_pickled_once_for_many_pickles() -> None:
    before = Model.pickles
    stands = once(Model().size)
    dumps = [dump((stands, n), writer=Writer(attaches=True)) for n in range(3)]

    assert Model.pickles == before + 1
    assert all(len(dumped.payload) < LARGE_VALUE for dumped in dumps)
    assert all(dumped.attachments == dumps[0].attachments for dumped in dumps)


def test_pickles_that_refer_to_one_object_share_it_where_they_are_opened() -> None:
    stands = once(Model().size)
    dumps = [dump((stands, n), writer=Writer(attaches=True)) for n in range(2)]
    (first, _), (second, n) = (load(each.payload, {}, dict(each.attachments)) for each in dumps)

    assert first is second
    assert second(n) == LARGE_VALUE + 1


def test_object_that_few_others_displace_is_opened_again() -> None:
    models = [Model() for _ in range(6)]
    for place, model in enumerate(models):
        model.weights = LARGE + bytes([place])
    dumps = [dump(once(model), writer=Writer(attaches=True)) for model in [*models, models[0]]]
    opened = [load(each.payload, {}, dict(each.attachments)) for each in dumps]

    assert opened[-1] is not opened[0]
    assert opened[-1].weights == models[0].weights


def test_object_is_pickled_whole_where_nothing_stays_apart() -> None:
    model = Model()
    dumped = dump(once(model))

    assert load(dumped.whole()).weights == LARGE


def test_object_without_a_large_part_stands_for_itself() -> None:
    numbers = [1, 2]
    assert once(numbers) is numbers


def test_generator_of_random_numbers_is_looked_at_each_time() -> None:
    sample = (LARGE, random.Random(1))
    assert once(sample) is sample


def test_object_that_cannot_be_pickled_stands_for_itself() -> None:
    waits = (n for n in range(2))
    assert once(waits) is waits


class WaitsForAnother(Model):
    """When it is opened, it waits for a thread that needs the same object."""

    dumped: ClassVar[Dumped | None] = None
    pool: ClassVar[ThreadPoolExecutor | None] = None
    found: ClassVar[list[Any]] = []

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        pool, WaitsForAnother.pool = WaitsForAnother.pool, None
        if pool is not None:
            self.found.append(pool.submit(opened_anew).result(PATIENCE))


def opened_anew() -> Any:
    dumped = WaitsForAnother.dumped
    assert dumped is not None
    return load(dumped.payload, {}, dict(dumped.attachments))


def test_object_whose_opening_waits_for_another_thread_that_needs_it_is_opened_and_shared() -> None:
    WaitsForAnother.dumped = dump(once(WaitsForAnother()), writer=Writer(attaches=True))
    with ThreadPoolExecutor(1) as pool:
        WaitsForAnother.pool = pool
        opened = opened_anew()

    assert type(opened) is WaitsForAnother
    assert WaitsForAnother.found == [opened]
    assert opened_anew() is opened
