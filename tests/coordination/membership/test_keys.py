"""The allow-list, and the answers to libzmq's questions about peers."""

from __future__ import annotations

import pytest

from distio.coordination.membership.identity import Identity
from distio.coordination.membership.keys import DOMAIN, AllowedKey, AllowList, answer

WORKER, OBSERVER, REVOKED, STRANGER = (f"{n:02x}" * 32 for n in range(4))
KEYS = AllowList.parse(
    f"# a comment\nrack-1 worker {WORKER}\n\nops observer {OBSERVER} # looks\nold revoked {REVOKED}"
)


def question(key: str, *, domain: bytes = DOMAIN, mechanism: bytes = b"CURVE") -> list[bytes]:
    return [b"1.0", b"7", domain, b"10.0.0.9", b"", mechanism, bytes.fromhex(key)]


def test_key_on_the_list_is_let_in_with_its_line_as_user_id() -> None:
    reply, complaint = answer(question(WORKER), KEYS)
    assert reply == [b"1.0", b"7", b"200", b"", f"rack-1 worker {WORKER}".encode(), b""]
    assert complaint == ""
    assert KEYS.identities()[reply[4].decode()] == Identity("worker", "rack-1")


@pytest.mark.parametrize(
    ("request_frames", "said"),
    [
        (question(STRANGER), f"the peer at 10.0.0.9: the key {STRANGER} isn't on the list"),
        (question(REVOKED), "the peer at 10.0.0.9: the key 'old' was revoked"),
        (question(WORKER, domain=b"other"), "the peer at 10.0.0.9: it has shown no key"),
        (question(WORKER, mechanism=b"PLAIN"), "the peer at 10.0.0.9: it has shown no key"),
        (question("ab"), "the peer at 10.0.0.9: it has shown no key"),
        (question(WORKER)[:6], "the peer at 10.0.0.9: it has shown no key"),
        ([*question(WORKER), b"more"], "the peer at 10.0.0.9: it has shown no key"),
        ([b"2.0", *question(WORKER)[1:]], "a question about a peer that isn't ZAP 1.0"),
        ([b"1.0", b"7"], "a question about a peer that isn't ZAP 1.0"),
        ([], "a question about a peer that isn't ZAP 1.0"),
    ],
)
def test_peer_without_a_key_on_the_list_is_refused(request_frames: list[bytes], said: str) -> None:
    reply, complaint = answer(request_frames, KEYS)
    assert reply[2] in (b"400", b"500")
    assert len(reply) == 6
    assert reply[4] == b"", "a peer that is refused has no user id"
    assert complaint == said


def test_key_that_is_revoked_has_no_identity_and_keeps_its_line() -> None:
    revoked = KEYS.with_revoked("rack-1")
    assert [*revoked.identities().values()] == [Identity("observer", "ops")]
    assert AllowList.parse(str(revoked))["rack-1"] == AllowedKey("rack-1", "revoked", WORKER)


def test_key_that_gets_another_role_has_another_line() -> None:
    """The connections with which the key was let in before are cut, for no line has them."""
    changed = AllowList([KEYS["rack-1"]._replace(role="client")])
    assert not changed.identities().keys() & KEYS.identities().keys()


def test_name_of_a_revoked_key_may_be_given_again() -> None:
    again = KEYS.with_key(AllowedKey("old", "client", STRANGER))
    assert again["old"].role == "client"
    assert again.with_public(REVOKED) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"rack worker {WORKER}\n\nother\n", "line 3: a line is NAME ROLE PUBLIC-KEY"),
        (f"../rack worker {WORKER}", "line 1: '../rack' is no name"),
        (f"rack admin {WORKER}", "line 1: 'admin' is no role"),
        (f"rack any {WORKER}", "line 1: 'any' is no role"),
        ("rack worker abc", "line 1: a public key has 64 hexadecimal digits, but got 'abc'"),
        (f"a worker {WORKER}\na client {OBSERVER}", "the name 'a' is there twice"),
        (f"a worker {WORKER}\nb revoked {WORKER}", "'a' and 'b' have the same key"),
    ],
)
def test_list_with_a_wrong_line_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said):
        AllowList.parse(text)


def test_name_that_is_taken_is_not_given_again() -> None:
    with pytest.raises(ValueError, match="there is a key 'ops' already"):
        KEYS.with_key(AllowedKey("ops", "client", STRANGER))
