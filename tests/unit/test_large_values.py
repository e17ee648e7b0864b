"""Large values lie apart from the pickle that refers to them: see `pickling.payloads`."""

from __future__ import annotations

import pickle
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from distio.core.outcomes import dump_item, dump_outcome, load_outcome
from distio.core.pickling.dumping import dump
from distio.core.pickling.loading import load
from distio.core.pickling.payloads import LARGE_VALUE, Dumped, Writer
from distio.core.pickling.spaces import ObjectSpace, use_space
from distio.protocol.pieces import Bytes, Pieces, joined
from distio.result import Ok

COUNT = LARGE_VALUE // 8
ARRAY = np.arange(COUNT, dtype=np.float64)
LARGE = [
    b"x" * LARGE_VALUE,
    b"x" * (LARGE_VALUE - 1),
    bytearray(b"y" * LARGE_VALUE),
    "z" * LARGE_VALUE,
    "\udc80ä" * LARGE_VALUE,
    pickle.PickleBuffer(bytearray(b"w" * LARGE_VALUE)),
]


def apart(value: Any) -> Dumped:
    return dump(value, writer=Writer(attaches=True))


def opened(dumped: Dumped) -> Any:
    return load(dumped.payload, {}, dict(dumped.attachments))


def test_large_values_are_no_part_of_the_payload_and_come_back_as_they_were() -> None:
    values: list[Any] = [*LARGE[:5], ["small", b"small"], ARRAY, ARRAY.reshape(-1, 2).T]
    dumped = apart(values)
    *plain, array, transposed = opened(dumped)

    assert plain == values[:6]
    assert [type(value) for value in plain] == [type(value) for value in values[:6]]
    assert np.array_equal(array, ARRAY)
    assert np.array_equal(transposed, values[-1])
    assert len(dumped.bare) < 2 * LARGE_VALUE  # one of them is too small by a byte


@pytest.mark.parametrize("join", [False, True])
def test_payload_that_is_opened_on_its_own_has_its_large_values_behind_it(join: bool) -> None:
    whole: Bytes = dump([*LARGE[:5], ARRAY]).whole()
    assert isinstance(whole, Pieces)
    *plain, array = load(whole.join() if join else whole)

    assert plain == LARGE[:5]
    assert np.array_equal(array, ARRAY)


def test_pieces_are_no_copies_of_large_bytes() -> None:
    value = b"x" * LARGE_VALUE
    whole = dump([value]).whole()

    assert isinstance(whole, Pieces)
    assert any(part is value for part in whole.parts)
    assert load(whole)[0] is value


def test_array_that_was_opened_can_be_changed_and_others_do_not_see_it() -> None:
    dumped = apart(ARRAY)
    attachments = dict(dumped.attachments)
    first, second = (load(dumped.payload, {}, attachments) for _ in range(2))
    first[0] = -1.0

    assert second[0] == ARRAY[0] == 0.0


def test_array_that_may_not_be_changed_is_opened_without_a_copy() -> None:
    array = ARRAY.copy()
    array.flags.writeable = False
    dumped = apart(array)
    first, second = (load(dumped.payload, {}, dict(dumped.attachments)) for _ in range(2))

    assert not first.flags.writeable
    assert np.shares_memory(first, second)


def test_array_is_sent_as_it_was_when_it_was_pickled() -> None:
    array = ARRAY.copy()
    dumped, leaving = apart(array), dump_item(array)
    array[0] = -1.0

    assert opened(dumped)[0] == load(leaving.payload)[0] == 0.0


def test_array_in_several_pickles_of_one_writer_is_copied_once() -> None:
    writer = Writer(attaches=True)
    dumps = [dump([ARRAY, n], writer=writer) for n in range(3)]
    large = [data for each in dumps for data in each.attachments.values() if len(data) > 9_999]

    assert len(large) == 3
    assert len({id(joined(data)) for data in large}) == 1


def test_parts_of_one_memory_are_told_apart_by_a_writer() -> None:
    memory = bytearray(b"a" * LARGE_VALUE + b"b" * LARGE_VALUE)
    halves = memoryview(memory)[:LARGE_VALUE], memoryview(memory)[LARGE_VALUE:]
    writer = Writer(attaches=True)
    dumps = [dump(pickle.PickleBuffer(half), writer=writer) for half in halves]

    assert [bytes(opened(each)[:1]) for each in dumps] == [b"a", b"b"]


def test_array_that_is_not_contiguous_comes_back() -> None:
    strided = np.arange(4.0 * COUNT)[::2]
    assert np.array_equal(opened(apart(strided)), strided)


def test_outcome_with_large_values_comes_back() -> None:
    leaving = dump_outcome(Ok([ARRAY, LARGE[0]]))
    result = load_outcome(leaving.payload).unsafe_get()

    assert isinstance(leaving.payload, Pieces)
    assert np.array_equal(result[0], ARRAY)
    assert result[1] is LARGE[0]


def test_payload_in_pieces_is_pickled_as_bytes() -> None:
    payload = dump_outcome(Ok(ARRAY)).payload
    again = pickle.loads(pickle.dumps(payload))

    assert type(again) is bytes
    assert np.array_equal(load_outcome(again).unsafe_get(), ARRAY)


def script(**variables: Any) -> Any:
    """A function of a script that isn't installed, with these global variables."""
    module = ModuleType("a_script_with_large_values")
    vars(module).update(variables)
    exec("def total():\n    return table.sum()", vars(module))
    return vars(module)["total"]


def test_global_variable_that_is_large_lies_apart_and_is_known_again() -> None:
    total = script(table=ARRAY)
    first, second = apart(total), apart(total)
    table = {name for name, data in first.attachments.items() if len(data) >= LARGE_VALUE}

    assert len(table) == 1
    assert table < second.attachments.keys()
    assert first.payload == second.payload
    with use_space(ObjectSpace()):
        assert opened(first)() == ARRAY.sum()


def test_global_variable_that_is_large_and_was_changed_is_of_another_generation() -> None:
    table = ARRAY.copy()
    total = script(table=table)
    first = apart(total)
    table[0] = 1.0
    second = apart(total)
    with use_space(ObjectSpace()):
        bundles: dict[bytes, Any] = {}
        calls = [load(each.payload, bundles, {**each.attachments}) for each in (first, second)]

        assert [call() for call in calls] == [ARRAY.sum(), ARRAY.sum() + 1.0]


def test_function_with_a_large_global_variable_is_opened_on_its_own() -> None:
    whole = dump(script(table=ARRAY)).whole()
    with use_space(ObjectSpace()):
        assert load(whole)() == ARRAY.sum()
