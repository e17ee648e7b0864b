"""When the end of a connection is reported, of which messages may still come."""

from __future__ import annotations

from distio.runtime.farewells import Farewells


def test_farewells_when_no_message_is_left_are_all_taken() -> None:
    farewells = Farewells()
    farewells.broke(b"a")
    farewells.broke(b"b")
    assert farewells
    assert farewells.take_all() == [b"a", b"b"]
    assert not farewells


def test_farewell_amid_a_flood_is_taken_when_others_have_had_many_turns() -> None:
    farewells = Farewells()
    farewells.broke(b"a")
    for turn in range(500):
        for other in (b"x", b"y"):
            farewells.heard(other)
        if turn < 100:
            farewells.heard(b"a")  # what it had said before it broke
        taken = farewells.take_silent()
        assert bool(taken) == (not farewells)
        if taken:
            assert taken == [b"a"]
            assert 100 < turn < 500
            return
    raise AssertionError("its end is never reported")


def test_farewell_of_a_connection_that_still_speaks_is_not_taken() -> None:
    farewells = Farewells()
    farewells.broke(b"a")
    for _ in range(2_000):
        farewells.heard(b"x")
        farewells.heard(b"a")
        assert not farewells.take_silent()
