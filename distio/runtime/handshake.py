"""The handshake of a process with a coordinator: it asks to be a member, and waits for the answer.

A welcome becomes a `LinkedHost`. A refusal, or no answer in time, is raised as a ClusterError.
"""

from __future__ import annotations

import os
import platform
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from distio.coordination.member import Member
from distio.coordination.membership.identity import Identity
from distio.errors import ClusterClosed, ClusterError, HandshakeRefused, KeyRefused
from distio.protocol import messages as m
from distio.protocol.codec import Batch, MalformedFrame, Take, from_coordinator
from distio.protocol.domains import MemberKind
from distio.protocol.ids import given_name, member_name
from distio.protocol.text import readable
from distio.protocol.version import PROTOCOL, PYTHON, VERSION
from distio.runtime.addresses import check_urls, ipc_path
from distio.runtime.failure_detector import PATIENCE_SECONDS, FailureDetector
from distio.runtime.keys import MemberKeys
from distio.runtime.lines import Lines
from distio.runtime.link import LinkedHost
from distio.runtime.poller import Poller
from distio.runtime.refusals import require_sockets, telling_refusals
from distio.runtime.timeouts import MAX_WAIT_SECONDS
from distio.runtime.wire import Frames
from distio.runtime.workers import Worker

__all__ = ["HANDSHAKE_SECONDS", "connect"]

HANDSHAKE_SECONDS: Final = 10.0
"""A process waits so long for the answer, unless it is told otherwise."""


def connect(
    url: str,
    kind: MemberKind,
    threads: int,
    *,
    family: str = "",
    serial: int = 0,
    timeout: float = HANDSHAKE_SECONDS,
    lifeline: int | None = None,
    coordinator: int | None = None,
    patience: float = PATIENCE_SECONDS,
    keys: Path | None = None,
    worker: Worker | None = None,
) -> LinkedHost:
    """Join the cluster whose coordinator listens at `url`.

    Args:
        url: `tcp://HOST:PORT` or `ipc://PATH`; or several, with commas between them: the
            coordinator is at one of these, and may be at another one later.
        kind: "worker", "client", "supervisor" or "observer".
        threads: how many threads will step fibers.
        family: see `Hello.family`.
        serial: see `Hello.serial`.
        timeout: how many seconds to wait for an answer.
        lifeline: a file descriptor; the link closes when it comes to its end.
        coordinator: what tells of the end of the coordinator (see `watch_process`), if this process
            can have that: the answer of a coordinator that has ended is not waited for.
        patience: for how many seconds the coordinator may give no sign of life; see `patience`.
        keys: the folder of the keys of this process; None: it has none.
        worker: the name of this process, if it is to have one, and what it has.

    Raises:
        HandshakeRefused: the coordinator refuses this process; or, on ipc, it is another user's.
        KeyRefused: the keys of this process aren't accepted there, or it lacks them.
        ClusterError: nobody answers, or the coordinator refuses.
    """
    check_urls(url)
    ends: dict[int, ClusterError] = {}
    if lifeline is not None:
        ends[lifeline] = ClusterClosed("the program that started this process has ended")
    if coordinator is not None:
        ends[coordinator] = ClusterError(
            "the coordinator process ended before it answered; what it wrote to stderr says why"
        )
    host, token = readable(platform.node()), os.urandom(16)
    life = host, os.getpid(), token, family, serial
    hello = m.Hello(PROTOCOL, PYTHON, kind, threads, *life, proof=os.urandom(16), version=VERSION)
    if worker is not None:
        hello = replace(hello, **worker.equipment())
    with telling_refusals(f"join the cluster at {url}"):
        has_tcp = any(ipc_path(each) is None for each in check_urls(url))
        require_sockets(have_threads=has_tcp)
        own = MemberKeys.read(keys, kind) if keys is not None and has_tcp else None
        return _join(url, hello, timeout, lifeline, ends, patience, own)


def _join(
    url: str,
    hello: m.Hello,
    timeout: float,
    lifeline: int | None,
    ends: dict[int, ClusterError],
    patience: float,
    keys: MemberKeys | None,
) -> LinkedHost:
    lines = Lines(url, patience, keys)
    try:
        lines.greet(hello)
        welcome, frames = _await_welcome(lines, url, timeout, ends)
        lines.joined(welcome)
        came = _read(url, frames, lines.take)
        early = replace(came, messages=came.messages[1:])
        incarnation = welcome.incarnation
        name = member_name(hello.kind, incarnation, hello.pid, hello.host, welcome.name)
        is_worker = hello.kind == "worker"
        member = Member(
            incarnation, offers_children=not is_worker, worker=name if is_worker else None
        )
        detector: FailureDetector[str] = FailureDetector(patience)
        identity = Identity(welcome.role, welcome.key)
        host = LinkedHost(member, lines, lifeline, early, detector, identity)
        host.name = welcome.name
        member.state.name = given_name(incarnation, hello.pid, hello.host, welcome.name)
        return host
    except BaseException:
        lines.close(linger=0)
        raise


def _await_welcome(
    lines: Lines,
    url: str,
    timeout: float,
    ends: dict[int, ClusterError],
) -> tuple[m.Welcome, Frames]:
    """The welcome, and the frames of the batch with which it came.

    Args:
        ends: by descriptor, the error that ends the wait.
    """
    frames = _await_answer(lines, time.monotonic() + min(timeout, MAX_WAIT_SECONDS), ends)
    if frames is None:
        raise ClusterError(
            f"no coordinator answers at {url} (waited {timeout:g} s); "
            f"start one with `distio coordinator --bind URL`, or check the URL"
            f"{lines.refusals.said()}"
        )
    answer = _read(url, frames, _nothing).messages[0]
    if isinstance(answer, m.Welcome):
        return answer, frames
    if isinstance(answer, m.Shutdown):
        raise ClusterError(f"the coordinator at {url} ends: {answer.reason}; start another")
    reason = answer.reason if isinstance(answer, m.Refused) else repr(answer)
    text = f"the coordinator at {url} refused this process: {reason}"
    if isinstance(answer, m.Refused) and answer.is_temporary:
        raise ClusterError(text)  # so that whoever retries tries again
    raise HandshakeRefused(text)


def _read(url: str, frames: Frames, take: Take | None) -> Batch[m.CoordinatorMessage]:
    """The batch of the welcome."""
    try:
        batch = from_coordinator.read(frames, take)
    except MalformedFrame as error:
        raise HandshakeRefused(f"the process at {url} is no coordinator of distio") from error
    if not batch.messages:
        raise HandshakeRefused(f"the process at {url} is no coordinator of distio")
    return batch


def _nothing(told: bytes) -> bytes:
    """Return no part of shared memory: the welcome tells where that is."""
    return b""


def _await_answer(lines: Lines, give_up_at: float, ends: dict[int, ClusterError]) -> Frames | None:
    """The first frames that come; None if none came in time."""
    while True:
        wire = lines.wire
        if wire.stranger is not None:
            raise HandshakeRefused(
                f"the coordinator at {lines.url} is a process of another user (uid "
                f"{wire.stranger}), which could have this one run anything; use a socket in a "
                f"folder of your own"
            )
        sources = *wire.answering, *wire.watched, *ends
        poller = Poller(*sources, writable=wire.blocked)
        now, redial_at = time.monotonic(), lines.absence.redial_at
        until = give_up_at if redial_at is None else min(give_up_at, redial_at)
        ready = poller.poll(max(0, int((until - now) * 1000) + 1))
        for source in ends:
            if source in ready:
                raise ends[source]
        wire.flush(nullcontext())
        if (answer := wire.receive_answer()) is not None:
            return answer
        now = time.monotonic()
        if lines.has_broken(ready):
            lines.broke(now)
            if reason := lines.refusals.while_joining():
                raise KeyRefused(reason)
        elif now >= give_up_at:
            return None
        elif redial_at is not None and redial_at <= now:
            lines.redial(now)
