"""The allow-list of a coordinator, and the answers that follow from it: who may connect.

Rules
-----
- A line of the list is `NAME ROLE PUBLIC-KEY`. A name is there once, and so is a key. The role
  `revoked` keeps a key out, and its name in the log.
- libzmq asks before it lets a peer in (ZAP, RFC 27), when the peer has proved to have its key. A
  key on the list gets the text of its line as the user id of its connection. So a line that is
  changed or gone tells of each connection whether it may stay.
- A request that isn't of that form is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from distio.coordination.membership.identity import Identity

__all__ = [
    "DOMAIN",
    "AllowList",
    "AllowedKey",
    "KeyRole",
    "Verdict",
    "answer",
    "is_key_name",
    "require_public",
]

DOMAIN: Final = b"distio"
"""The ZAP domain of coordinators."""

KeyRole: TypeAlias = Literal["client", "observer", "worker", "revoked"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_KEY_BYTES: Final = 32
_VERSION: Final = b"1.0"
_HEADER: Final = """\
# The keys that may join this cluster: NAME ROLE PUBLIC-KEY. `distio keys` edits this file, and so
# may you: the coordinator reads it again when it changes. Roles: worker, client, observer, revoked.
"""


def is_key_name(name: str) -> bool:
    """Whether a key can have this name, which is that of a folder, too.

    >>> is_key_name("rack-1"), is_key_name("../rack")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None


class AllowedKey(NamedTuple):
    """One line of the list."""

    name: str
    role: KeyRole
    public: str
    """The public key, in hexadecimal digits."""

    def __str__(self) -> str:
        return f"{self.name} {self.role} {self.public}"

    @property
    def identity(self) -> Identity | None:
        """The identity that the key gives its process; None: the key was revoked."""
        return None if self.role == "revoked" else Identity(self.role, self.name)


class AllowList:
    """The keys that may join, and those that may not any more.

    >>> keys = AllowList([AllowedKey("rack-1", "worker", "ab" * 32)])
    >>> AllowList.parse(str(keys)).with_revoked("rack-1")["rack-1"].role
    'revoked'

    Raises:
        ValueError: a name or a key is there twice.
    """

    def __init__(self, keys: Iterable[AllowedKey] = ()) -> None:
        self._by_name: dict[str, AllowedKey] = {}
        self._by_public: dict[str, AllowedKey] = {}
        for key in keys:
            if key.name in self._by_name:
                raise ValueError(f"the name {key.name!r} is there twice")
            if key.public in self._by_public:
                other = self._by_public[key.public].name
                raise ValueError(f"{other!r} and {key.name!r} have the same key")
            self._by_name[key.name] = self._by_public[key.public] = key

    @classmethod
    def parse(cls, text: str) -> AllowList:
        """The list that this text says.

        Raises:
            ValueError: which line is wrong, and how.
        """
        keys = []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                keys.append(_parse(words))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
        return cls(keys)

    def __str__(self) -> str:
        return _HEADER + "".join(f"{key}\n" for key in self)

    def __iter__(self) -> Iterator[AllowedKey]:
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> AllowedKey:
        return self._by_name[name]

    def with_public(self, public: str) -> AllowedKey | None:
        """The line of this key."""
        return self._by_public.get(public)

    def require_free(self, name: str) -> None:
        """Raise a ValueError if a key that wasn't revoked has this name."""
        if name in self and self[name].role != "revoked":
            raise ValueError(f"there is a key {name!r} already; choose another name, or revoke it")

    def with_key(self, key: AllowedKey) -> AllowList:
        """The same list with one more; a name that was revoked may be given again.

        Raises:
            ValueError: the name or the key is taken.
        """
        self.require_free(key.name)
        others = [each for each in self if each.name != key.name]
        return AllowList([*others, key])

    def with_revoked(self, name: str) -> AllowList:
        """The same list, in which a key is revoked."""
        return AllowList(key._replace(role="revoked") if key.name == name else key for key in self)

    def identities(self) -> dict[str, Identity]:
        """By user id of a connection, who it is: those that may stay."""
        pairs = ((str(key), key.identity) for key in self)
        return {text: identity for text, identity in pairs if identity is not None}


def _parse(words: Sequence[str]) -> AllowedKey:
    if len(words) != 3:
        raise ValueError("a line is NAME ROLE PUBLIC-KEY")
    name, role, public = words
    if not is_key_name(name):
        raise ValueError(f"{name!r} is no name: it has letters, digits, '.', '_' and '-'")
    for each in get_args(KeyRole):
        if each == role:
            return AllowedKey(name, each, require_public(public))
    raise ValueError(f"{role!r} is no role: worker, client, observer and revoked are")


def require_public(public: str) -> str:
    """Return a public key, as the list has it.

    Raises:
        ValueError: it isn't one.
    """
    if _KEY.fullmatch(public) is None:
        raise ValueError(f"a public key has 64 hexadecimal digits, but got {public!r}")
    return public


class Verdict(NamedTuple):
    """The answer to a question of libzmq."""

    reply: list[bytes]
    complaint: str = ""
    """The complaint for the operator; empty: the peer was let in."""


def answer(request: Sequence[bytes], allowed: AllowList) -> Verdict:
    """Whether a peer may connect.

    Args:
        request: the frames of the question, without the envelope.
        allowed: who may.
    """
    if len(request) < 6 or request[0] != _VERSION:
        number = request[1] if len(request) > 1 else b""
        return _refuse(number, b"500", "a question about a peer that isn't ZAP 1.0")
    _, number, domain, address, _, mechanism, *credentials = request
    peer = f"the peer at {address.decode(errors='replace')}"
    if (
        domain != DOMAIN
        or mechanism != b"CURVE"
        or [len(each) for each in credentials] != [_KEY_BYTES]
    ):
        return _refuse(number, b"400", f"{peer}: it has shown no key")
    public = credentials[0].hex()
    key = allowed.with_public(public)
    if key is None:
        return _refuse(number, b"400", f"{peer}: the key {public} isn't on the list")
    if key.role == "revoked":
        return _refuse(number, b"400", f"{peer}: the key {key.name!r} was revoked")
    return Verdict([_VERSION, number, b"200", b"", str(key).encode(), b""])


def _refuse(number: bytes, status: bytes, complaint: str) -> Verdict:
    return Verdict([_VERSION, number, status, b"refused", b"", b""], complaint)
