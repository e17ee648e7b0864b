"""Refusals of keys, as a member sees them: libzmq reports how a handshake has failed, and no more.

Rules
-----
- After "400" the coordinator doesn't accept the key. After a mismatch of mechanisms one side has
  keys, and the other has none. In both cases libzmq never tries again on this socket.
- Most often the other side hangs up before libzmq knows of a mismatch, and reports no reason. Then
  the greeting of the other side says whether it has keys; see `mechanism_at`.
- If both sides have keys, a coordinator hangs up without a reason if it has another key than this
  process expects. So does one that ends in that moment. So only some of these in a row are a
  refusal, and only to a process that joins: a member comes back for as long as it may be absent.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from enum import Enum
from typing import Final, final
from urllib.parse import urlsplit

from distio.runtime.keys import MemberKeys

__all__ = ["Failure", "KeyRefusals", "mechanism_at"]


class Failure(Enum):
    """The failure of a handshake, as the monitor of a socket reports it."""

    HUNG_UP = "the other side has hung up, for no reason that is known"
    NOT_ACCEPTED = "the other side doesn't accept the key"
    MISMATCH = "one side has keys, and the other has none"
    OTHER = "the other side speaks another protocol"


_HANG_UPS: Final = 4
"""Two sockets, two attempts."""
_PROBE_SECONDS: Final = 2.0
_SIGNATURE: Final = b"\xff" + bytes(7) + b"\x01\x7f"
_MAJOR: Final = b"\x03"
_GREETING_BYTES: Final = 64


@final
class KeyRefusals:
    """The refusals that the sockets have reported at each URL.

    Args:
        urls: where the coordinator may be.
        keys: those of this process; None: it has none.
    """

    def __init__(self, urls: Sequence[str], keys: MemberKeys | None) -> None:
        self._urls = [*dict.fromkeys(urls)]
        self._keys = keys
        self._refused: dict[str, str] = {}
        self._hang_ups = Counter[str]()
        self._mechanisms: dict[str, str] = {}
        """By URL where the other side has hung up: see `mechanism_at`."""

    def note(self, url: str, failure: Failure) -> None:
        """The handshake at this URL has failed."""
        if failure is Failure.HUNG_UP:
            self._hang_ups[url] += 1
        elif failure is Failure.NOT_ACCEPTED and self._keys is not None:
            self._refused[url] = _not_accepted(url, self._keys)
        elif failure is Failure.MISMATCH:
            self._refused[url] = _mismatch(url, self._keys)

    @property
    def final(self) -> str:
        """Why this process is refused wherever the coordinator may be; empty: it isn't."""
        is_all = all(url in self._refused for url in self._urls)
        return "; and ".join(self._refused[url] for url in self._urls) if is_all else ""

    def said(self) -> str:
        """The reasons of those coordinators that have refused this process, if others haven't."""
        return "".join(f"; {reason}" for reason in self._refused.values())

    def while_joining(self) -> str:
        """The same, if this process isn't a member yet; may ask the other side for its greeting."""
        for url in self._hang_ups:
            if url not in self._refused:
                self._look_into(url)
        return self.final

    def _look_into(self, url: str) -> None:
        mechanism = self._mechanisms.get(url) or mechanism_at(url, _PROBE_SECONDS)
        self._mechanisms[url] = mechanism
        keys = self._keys
        if mechanism == ("CURVE" if keys is None else "NULL"):
            self._refused[url] = _mismatch(url, keys)
        elif keys is not None and mechanism == "CURVE" and self._hang_ups[url] >= _HANG_UPS:
            self._refused[url] = _other_key(url, keys)


def mechanism_at(url: str, seconds: float) -> str:
    """How the ZeroMQ socket that listens at a TCP address knows its peers.

    Args:
        url: the address.
        seconds: how long an answer may take.

    Returns:
        "CURVE": it has keys. "NULL": it has none. Empty: no such socket answers there.
    """
    parts, greeting = urlsplit(url), b""
    try:
        with socket.create_connection((parts.hostname, parts.port), seconds) as connection:
            # no more than that: the other side says all of its greeting, and goes on to wait
            connection.sendall(_SIGNATURE + _MAJOR)
            while len(greeting) < _GREETING_BYTES:
                came = connection.recv(_GREETING_BYTES)
                if not came:
                    return ""
                greeting += came
    except OSError:  # to join fails as well, and with a reason
        return ""
    return greeting[12:32].rstrip(b"\0").decode("ascii", "replace")


def _not_accepted(url: str, keys: MemberKeys) -> str:
    public = keys.public.hex()
    return (
        f"the coordinator at {url} doesn't accept the key in {keys.folder}: it was revoked, or was "
        f"never added to the coordinator's list; `distio keys add NAME --role ROLE --public-key "
        f"{public}` there adds it"
    )


def _mismatch(url: str, keys: MemberKeys | None) -> str:
    if keys is None:
        return (
            f"the coordinator at {url} takes nobody without a key, and this process has none; give "
            f"it a folder of keys, by --keys DIR, keys=DIR or DISTIO_KEYS"
        )
    return (
        f"the coordinator at {url} has no keys, but this process has those in {keys.folder}; start "
        f"the coordinator with its keys, or leave them out here (--keys, keys=, DISTIO_KEYS)"
    )


def _other_key(url: str, keys: MemberKeys) -> str:
    return (
        f"the coordinator at {url} doesn't have the key in {keys.folder / 'coordinator.key'}: it "
        f"is that of another cluster, or has other keys now; check the URL, or copy the folder of "
        f"keys anew from where the coordinator is"
    )
