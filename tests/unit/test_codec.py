"""The codec: messages to frames and back, and frames that are no messages."""

from __future__ import annotations

import contextlib
from dataclasses import is_dataclass
from enum import EnumType
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distio.protocol import messages as m
from distio.protocol.base import FIBER, PAYLOAD
from distio.protocol.codec import DETACH_BYTES, MalformedFrame, from_coordinator, from_member
from distio.protocol.fields import marked

MEMBER: list[Any] = m.MemberMessage.__subclasses__()
COORDINATOR: list[Any] = m.CoordinatorMessage.__subclasses__()

_BASIC: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, 2**63),
    float: st.floats(allow_nan=False),
    str: st.text(max_size=20),
    bytes: st.binary(max_size=50),
    bool: st.booleans(),
    type(None): st.none(),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    if kind in _BASIC:
        return _BASIC[kind]
    args = get_args(kind)
    if isinstance(kind, EnumType):
        return st.sampled_from(list(kind))
    if get_origin(kind) is Annotated:
        domains = [each for each in args[1:] if isinstance(each, msgspec.Meta)]
        return limited(args[0], domains[0]) if domains else values(args[0])
    if get_origin(kind) is Literal:
        return st.sampled_from(args)
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        return st.one_of(*map(values, args))
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind, include_extras=True)
        return st.builds(kind, **{name: values(hint) for name, hint in hints.items()})
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind, include_extras=True)
        return st.builds(kind, **{name: values(hints[name]) for name in kind.__struct_fields__})
    if kind == list[args]:  # type: ignore[valid-type]
        return st.lists(values(args[0]), max_size=4)
    if get_origin(kind) is tuple and args[-1] is Ellipsis:
        return st.lists(values(args[0]), max_size=4).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(values(args[0]), values(args[1]), max_size=4)
    return st.tuples(*map(values, args))


def limited(kind: Any, domain: Any) -> st.SearchStrategy[Any]:
    """The values of a type that are in a domain."""
    if kind is int:
        return st.integers(domain.ge, domain.le)
    if kind is float:
        return st.floats(domain.ge, domain.le)
    if kind is str and domain.pattern:
        letters = st.characters(min_codepoint=0xA1, exclude_categories=["Cs"])
        return st.text(letters, min_size=domain.min_length or 0, max_size=20)
    if kind in (str, bytes):
        make = st.text if kind is str else st.binary
        return make(min_size=domain.min_length or 0, max_size=min(20, domain.max_length))
    if domain.min_length:
        return st.lists(values(get_args(kind)[0]), min_size=domain.min_length, max_size=4)
    return values(kind)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEMBER, ids=lambda kind: kind.__name__)
@settings(max_examples=8)
@given(data=st.data())
def test_codec_decodes_each_message_of_a_member_as_it_was(kind: Any, data: Any) -> None:
    messages = data.draw(st.lists(values(kind), max_size=3))
    assert from_member.decode(from_member.encode(messages)) == messages


@pytest.mark.slow
@pytest.mark.parametrize("kind", COORDINATOR, ids=lambda kind: kind.__name__)
@settings(max_examples=8)
@given(data=st.data())
def test_codec_decodes_each_message_of_the_coordinator_as_it_was(kind: Any, data: Any) -> None:
    messages = data.draw(st.lists(values(kind), max_size=3))
    assert from_coordinator.decode(from_coordinator.encode(messages)) == messages


def test_codec_takes_messages_of_several_kinds_in_one_batch() -> None:
    messages: list[Any] = [m.StartRun(1), m.Goodbye(), m.GiveBack([(2, 1)]), m.StartRun(3)]
    assert from_member.decode(from_member.encode(messages)) == messages


BIG = b"b" * (DETACH_BYTES + 1)
JUST = b"j" * DETACH_BYTES


def test_codec_sends_big_payloads_of_members_in_frames_of_their_own() -> None:
    small = m.Chunk(1, [(2, 3)], b"small")
    big = m.Chunk(1, [(4, 5), (6, 7)], BIG)
    messages: list[Any] = [
        m.StartRun(1),
        m.Offer([small, big, small, big]),
        m.OutcomesReady([8, 9], [b"s", BIG]),
        m.OutcomesReady([9], [JUST]),
    ]
    frames = from_member.encode(messages)
    assert len(frames) == 4
    assert all(frame is BIG for frame in frames[1:])  # not copied
    assert from_member.decode(frames) == messages


def test_codec_sends_big_payloads_of_the_coordinator_in_frames_of_their_own() -> None:
    messages: list[Any] = [m.Place(m.Chunk(1, [(2, 3)], BIG)), m.Outcomes([1], [BIG])]
    frames = from_coordinator.encode(messages)
    assert len(frames) == 3
    assert len(frames[0]) < 200
    assert from_coordinator.decode([memoryview(frame) for frame in frames]) == messages


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*MEMBER, *COORDINATOR], ids=lambda kind: kind.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_codec_sends_each_payload_of_any_message_in_a_frame_of_its_own(
    kind: Any, data: Any
) -> None:
    codec: Any = from_member if kind in MEMBER else from_coordinator
    message = data.draw(values(kind))
    payloads = marked(kind, PAYLOAD)
    if payloads is not None:
        message = payloads.replaced(message, [BIG] * len(payloads.values(message)))
        frames = codec.encode([message])
        assert len(frames) == 1 + len(payloads.values(message))
        assert len(frames[0]) < DETACH_BYTES
        assert codec.decode(frames) == [message]


@pytest.mark.parametrize("kind", [*MEMBER, *COORDINATOR], ids=lambda kind: kind.__name__)
def test_message_fields_with_payloads_or_fibers_are_marked(kind: Any) -> None:
    unmarked = {where for where, hint in fields(kind) if hint is bytes}
    assert unmarked <= {"attachments.0", "code", "token"}  # digests, and a key
    fibers = {where: hint for where, hint in fields(kind) if where.split(".")[0] in FIBERS}
    assert all(FIBER in get_args(hint) for where, hint in fibers.items() if "." not in where)


FIBERS = {"fiber", "of"}


def fields(kind: Any, where: str = "") -> list[tuple[str, Any]]:
    """Each field of a message, with its type, nested fields included."""
    args = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = get_type_hints(kind, include_extras=True)
        return [each for name in kind.__struct_fields__ for each in fields(hints[name], name)]
    if get_origin(kind) is Annotated:
        inner = fields(args[0], where)
        return [(where, kind)] if inner == [(where, args[0])] else inner
    if get_origin(kind) is tuple:
        return [found for n, each in enumerate(args) for found in fields(each, f"{where}.{n}")]
    if get_origin(kind) in (list, UnionType, Union):
        return [found for each in args for found in fields(each, where)]
    return [(where, kind)]


def test_codec_leaves_the_messages_that_it_encodes_alone() -> None:
    message = m.Offer([m.Chunk(1, [], BIG)])
    from_member.encode([message])
    assert message.chunks[0].payload is BIG


def raw(messages: list[Any], detached: list[tuple[int, int]], *frames: bytes) -> list[bytes]:
    return [msgspec.msgpack.encode((messages, detached)), *frames]


OUTCOME = {"type": "OutcomesReady", "fibers": [1], "payloads": [b""]}

MALFORMED: dict[str, list[bytes]] = {
    "no frames": [],
    "an empty frame": [b""],
    "text": [b"hello"],
    "cut off": [from_member.encode([m.StartRun(1)])[0][:-1]],
    "trailing bytes": [from_member.encode([m.StartRun(1)])[0] + b"\x00"],
    "a message of the other direction": from_coordinator.encode([m.Welcome(1)]),
    "an unknown tag": raw([{"type": "Nonsense"}], []),
    "a wrong type": raw([{"type": "StartRun", "run": "one"}], []),
    "a frame too many": raw([OUTCOME], [], b"x"),
    "a frame too few": raw([OUTCOME], [(0, 0)]),
    "no such message": raw([OUTCOME], [(1, 0)], b"x"),
    "no such part": raw([OUTCOME], [(0, 1)], b"x"),
    "a negative message": raw([OUTCOME], [(-1, 0)], b"x"),
    "a negative message of none": raw([], [(-1, 0)], b"x"),
    "a negative part": raw([OUTCOME], [(0, -1)], b"x"),
    "a payload for what has none": raw([{"type": "Goodbye"}], [(0, 0)], b"x"),
    "text that isn't UTF-8": [b"\x92\x91\x82\xa4type\xa6Listen\xa5t\xff\xffen\xc4\x00\x90"],
    "a host that isn't UTF-8": [
        raw([{"type": "WorkerExited", "serial": 1, "reason": "abc"}], [])[0].replace(
            b"abc", b"\xff" * 3
        )
    ],
    # a level takes a C call: deeper than any stack, since some versions of CPython limit that alone
    "very deep": [b"\x93\x90\x90" + b"\x91" * 10_000_000 + b"\x90"],
}


# -- domains ----------------------------------------------------------------------------------

NAN, INFINITE = float("nan"), float("inf")
OUTSIDE: dict[str, Any] = {
    "a negative run": m.StartRun(-1),
    "a run that no signed integer holds": m.StartRun(2**63),
    "a negative sleep": m.StartTimer(1, 1, 1, -1.0),
    "a sleep that is no number": m.StartTimer(1, 1, 1, NAN),
    "an endless sleep": m.StartTimer(1, 1, 1, INFINITE),
    "a window that is no number": m.AcquireTokens(1, 2, NAN, 1, [1]),
    "negative tokens": m.AcquireTokens(1, -3, 0.0, 1, [1]),
    "no fiber that waits": m.AcquireTokens(1, 0, 0.0, 1, []),
    "a negative return": m.ReturnTokens("door", -5),
    "a return of nothing": m.ReturnTokens("door", 0, b"value"),
    "a kind that isn't one": m.MakePrimitive(1, 2, "zebra", 1),  # type: ignore[arg-type]  # it is wrong
    "a capacity below none": m.MakePrimitive(1, 2, "queue", -2),
    "a verb that isn't one": m.PrimitiveCall(1, 2, 3, "eat", 0, None),  # type: ignore[arg-type]  # it is wrong
    "a negative number": m.PrimitiveCall(1, 2, 3, "count_down", -(2**63), None),
    "a negative taking": m.DelegationReturned(1, -5),
    "a chunk without fibers": m.Offer([m.Chunk(1, [], b"")]),
    "a negative epoch": m.Offer([m.Chunk(1, [(2, -1)], b"")]),
    "an epoch that can't grow": m.Offer([m.Chunk(1, [(2, 2**64 - 1)], b"")]),
    "negative holding": m.Offer([m.Chunk(1, [(2, 0)], b"", [("door", 0, -3)])]),
    "a negative target": m.Offer([m.Chunk(1, [(2, 0)], b"", target=-1)]),
    "negative starts": m.Progress(0, 0, [m.RunProgress(1, [(0, -9)], 0, [], 0)]),
    "negative ends": m.Progress(0, 0, [m.RunProgress(1, [], -9, [], 0)]),
    "a negative load": m.Progress(0, -9, []),
    "a kind of member that isn't one": m.Hello(1, "", "boss", 1, "", 1, b""),  # type: ignore[arg-type]  # it is wrong
    "no threads": m.Hello(1, "", "worker", 0, "", 1, b""),
    "more threads than there can be": m.Hello(1, "", "worker", 2**62, "", 1, b""),
    "a token of 10 MB": m.Listen(bytes(10**7)),
    "a host of 10 MB": m.Hello(1, "", "worker", 1, "x" * 10**7, 1, b""),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_codec_refuses_a_value_outside_its_domain(name: str) -> None:
    with pytest.raises(MalformedFrame):
        from_member.decode(from_member.encode([OUTSIDE[name]]))


@pytest.mark.parametrize("name", MALFORMED)
def test_codec_refuses_malformed_frames(name: str) -> None:
    with pytest.raises(MalformedFrame):
        from_member.decode(MALFORMED[name])


@pytest.mark.slow
@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), max_size=3))
def test_codec_takes_random_bytes_for_malformed_or_for_a_batch(frames: list[bytes]) -> None:
    for codec in (from_member, from_coordinator):
        with contextlib.suppress(MalformedFrame):
            codec.decode(frames)


@pytest.mark.slow
@settings(max_examples=100)
@given(values(m.Hello), st.data())
def test_codec_takes_damaged_frames_for_malformed_or_for_a_batch(hello: m.Hello, data: Any) -> None:
    frame = bytearray(from_member.encode([hello, m.StartRun(1)])[0])
    index = data.draw(st.integers(0, len(frame) - 1))
    frame[index] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedFrame):
        from_member.decode([bytes(frame)])
