"""Handlers are found by the annotations of methods, and none is missing."""

from __future__ import annotations

import pytest

from distio.coordination.dispatch import HandlerTable, admits, handles


class Message:
    pass


class Ping(Message):
    pass


class Pong(Message):
    pass


class Note:
    pass


class Pings:
    @handles
    def hear(self, sender: int, message: Ping) -> str:
        return f"ping from {sender}"

    @admits
    def admit(self, sender: int, message: Ping) -> str:
        return "admitted"


class Pongs:
    @handles
    def hear(self, sender: int, message: Pong) -> str:
        return f"pong from {sender}"


class All:
    @handles
    def hear(self, sender: int, message: Ping | Pong) -> str:
        return type(message).__name__


class Strange:
    @handles
    def hear(self, sender: int, message: Note) -> None:
        raise AssertionError


def test_table_finds_the_method_by_its_annotated_type() -> None:
    bound = HandlerTable(handles, Message, [Pings, Pongs]).bind([Pongs(), Pings()])
    assert bound[Ping](1, Ping()) == "ping from 1"
    assert bound[Pong](2, Pong()) == "pong from 2"


def test_table_binds_the_method_that_a_subclass_has_overridden() -> None:
    class LoudPings(Pings):
        def hear(self, sender: int, message: Ping) -> str:
            return "PING"

    bound = HandlerTable(handles, Message, [Pings, Pongs]).bind([LoudPings(), Pongs()])
    assert bound[Ping](1, Ping()) == "PING"


def test_table_binds_each_method_once_when_it_is_used() -> None:
    pings = Pings()
    bound = HandlerTable(handles, Message, [Pings, Pongs]).bind([Pongs(), pings])
    assert dict(bound) == {}
    assert bound[Ping](1, Ping()) == "ping from 1"
    assert bound[Ping] is bound[Ping]
    assert dict(bound) == {Ping: pings.hear}
    with pytest.raises(KeyError):
        bound[Note]


def test_table_bound_to_other_classes_finds_their_methods() -> None:
    class LoudPings(Pings):
        def hear(self, sender: int, message: Ping) -> str:
            return "PING"

    table = HandlerTable(handles, Message, [Pings, Pongs])
    bound = [table.bind([kind(), Pongs()]) for kind in (Pings, LoudPings, Pings)]
    assert [each[Ping](1, Ping()) for each in bound] == ["ping from 1", "PING", "ping from 1"]


def test_table_reads_unions_as_each_of_their_types() -> None:
    bound = HandlerTable(handles, Message, [All]).bind([All()])
    assert [bound[each](1, each()) for each in (Ping, Pong)] == ["Ping", "Pong"]


def test_table_of_another_mark_has_other_methods() -> None:
    table = HandlerTable(admits, Message, [Pings, Pongs], is_complete=False)
    assert table.kinds == {Ping}
    assert table.bind([Pings()])[Ping](1, Ping()) == "admitted"


def test_table_knows_of_types_that_are_handled_besides() -> None:
    assert HandlerTable(handles, Message, [Pings], besides=[Pong]).kinds == {Ping}
    with pytest.raises(TypeError, match="Pong is handled twice"):
        HandlerTable(handles, Message, [Pings, Pongs], besides=[Pong])


@pytest.mark.parametrize(
    ("owners", "said"),
    [
        ([Pings], "nobody handles Pong"),
        ([], "nobody handles Ping, Pong"),
        ([All, Pings], "Ping is handled twice"),
        ([All, Strange], "Strange.hear handles no Message"),
    ],
)
def test_table_with_a_type_that_is_handled_by_none_or_two_is_refused(
    owners: list[type], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        HandlerTable(handles, Message, owners)
