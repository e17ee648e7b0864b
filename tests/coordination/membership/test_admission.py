"""Admission: which processes can't join, what they are told, and as what it is counted."""

from __future__ import annotations

from msgspec.structs import replace

from distio.coordination.membership.admission import (
    Refusal,
    refusal_of_hello,
    refusal_of_resume,
)
from distio.coordination.membership.identity import ANYBODY, Identity
from distio.coordination.membership.links import Link
from distio.coordination.membership.session import begin_session
from distio.protocol import messages as m
from distio.protocol.version import PROTOCOL, PYTHON

HELLO = m.Hello(PROTOCOL, PYTHON, "worker", 1, "host", 7, b"token", proof=b"proof")
RACK = Identity("worker", "rack 1")
RESUME = m.Resume(1, proof=b"proof", token=b"token", heard=0, attempt=2)


def link(hello: m.Hello = HELLO, identity: Identity = ANYBODY) -> Link:
    return Link(1, hello, begin_session(10.0), identity)


def refused(
    hello: m.Hello = HELLO,
    known: Link | None = None,
    *,
    identity: Identity = ANYBODY,
    is_closing: bool = False,
    members: int = 2,
) -> Refusal | None:
    return refusal_of_hello(
        hello, identity, known, is_closing=is_closing, members=members, max_members=3
    )


def kind_of(refusal: Refusal | None) -> str:
    assert refusal is not None
    assert not refusal.may_retry
    return refusal.kind or refusal.reason


def test_process_that_fits_is_admitted() -> None:
    assert refused() is None
    assert refused(identity=RACK) is None


def test_process_that_does_not_fit_is_refused_and_counted_by_what_does_not() -> None:
    assert kind_of(refused(replace(HELLO, protocol=PROTOCOL + 1))) == "another version"
    client = replace(HELLO, kind="client")
    assert kind_of(refused(client, identity=RACK)) == "a key for another role"
    assert kind_of(refused(is_closing=True)) == "the coordinator is about to end"


def test_full_cluster_has_room_only_for_a_process_that_has_joined_already() -> None:
    assert kind_of(refused(members=3)) == "the cluster is full"
    assert refused(known=link(), members=3) is None


def test_process_with_the_proof_of_a_member_needs_its_key() -> None:
    known = link(identity=RACK)
    assert refused(known=known, identity=RACK) is None
    assert kind_of(refused(known=known, identity=Identity("worker", "rack 2"))) == (
        "a proof that is in use"
    )


def test_process_that_comes_back_needs_the_proof_and_the_key_of_the_member() -> None:
    def reason(resume: m.Resume, identity: Identity, member: Link) -> str:
        refusal = refusal_of_resume(resume, identity, member, may_have_gone_back=False)
        return "" if refusal is None else refusal.reason

    other = "this process isn't the member that it says it is"
    assert reason(RESUME, RACK, link(identity=RACK)) == ""
    assert reason(RESUME, ANYBODY, link(identity=RACK)) == other
    assert reason(replace(RESUME, proof=b"guess"), RACK, link(identity=RACK)) == other
    nobodys = link(replace(HELLO, proof=b""))
    assert reason(replace(RESUME, proof=b""), ANYBODY, nobodys) == other
