"""Messages about members in the coordinator's log, in words for its operator."""

from __future__ import annotations

from distio.coordination.code.words import describe_code
from distio.coordination.endings.words import describe_unplaced
from distio.coordination.membership.links import Link
from distio.coordination.membership.rate_limited_log import Note
from distio.coordination.placement.words import describe_unfit
from distio.coordination.recovery.words import describe_loss
from distio.protocol import messages as m
from distio.protocol.ids import name_of
from distio.protocol.messages.code import CodeReported

__all__ = ["describe_for_operator", "describe_joined"]


def describe_joined(link: Link, hello: m.Hello) -> Note:
    """A process has become the member of this link."""
    key = f", with the key {link.identity.name!r}" if link.identity.name else ""
    text = f"{hello.kind} {link.member} joined: process {hello.pid}, named {hello.name}{key}"
    return Note(text, member=link.member, process=hello.pid)


def describe_for_operator(message: m.CoordinatorMessage) -> str | None:
    """The message in words for the operator; None: nothing that a person has to know."""
    if isinstance(message, m.LossReported):
        return Note(describe_loss(message), member=message.worker)
    if isinstance(message, m.NoWorkerFits):
        return describe_unfit(message)
    if isinstance(message, CodeReported):
        return describe_code(message)
    if isinstance(message, m.RunEnded):
        run = name_of(message.run)
        return Note(f"run {run} has ended: {describe_unplaced(message)}", run=run)
    return None
