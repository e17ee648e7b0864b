"""Ids are integers that a member makes without asking anybody.

A fiber id is `(incarnation, sequence)` packed into one integer: the incarnation is the number
that the coordinator gave to this life of the member which made the fiber, and the sequence
counts the fibers made in that life. A run has the id of its root fiber.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "NOBODY",
    "SEQUENCE_BITS",
    "default_name",
    "fiber_id",
    "given_name",
    "home_of",
    "label_of",
    "member_name",
    "name_of",
    "sequence_of",
]

NOBODY: Final = 0
"""The incarnation of no member: the root of a named run has no maker, and the run no owner, so it
ends with no member."""

SEQUENCE_BITS = 40
_SEQUENCE_MASK = (1 << SEQUENCE_BITS) - 1


def fiber_id(incarnation: int, sequence: int) -> int:
    """Pack the id of the `sequence`-th fiber made by `incarnation`.

    >>> home_of(fiber_id(3, 7)), sequence_of(fiber_id(3, 7))
    (3, 7)
    """
    return incarnation << SEQUENCE_BITS | sequence


def home_of(fiber: int) -> int:
    """The incarnation of the member that made this fiber."""
    return fiber >> SEQUENCE_BITS


def sequence_of(fiber: int) -> int:
    """The number of a fiber among those of its maker."""
    return fiber & _SEQUENCE_MASK


def name_of(fiber: int) -> str:
    """How a fiber is called in messages to people.

    >>> name_of(fiber_id(3, 7))
    '3.7'
    """
    return f"{home_of(fiber)}.{sequence_of(fiber)}"


def label_of(fiber: int, name: str | None) -> str:
    """The name of a fiber by its id, with the name that its program gives it, if there is one.

    >>> label_of(fiber_id(3, 7), "fetch")
    '3.7 (fetch)'
    """
    return f"{name_of(fiber)} ({name})" if name else name_of(fiber)


def default_name(process: int, host: str) -> str:
    """The name of a member that was given none.

    >>> default_name(4711, "alpha")
    'alpha-4711'
    """
    return f"{'-'.join(host[:80].split()) or 'host'}-{process}"


def given_name(incarnation: int, process: int, host: str, name: str) -> str:
    """The name of a member if somebody has given it one, else empty.

    >>> given_name(2, 4711, "alpha", "gpu-1"), given_name(2, 4711, "alpha", "alpha-4711")
    ('gpu-1', '')
    """
    default = default_name(process, host)
    return "" if name in (default, f"{default}-{incarnation}") else name


def member_name(kind: str, incarnation: int, process: int, host: str, name: str = "") -> str:
    """How a member is called in messages to people.

    >>> member_name("worker", 2, 4711, "alpha", "gpu-1")
    'worker gpu-1 (number 2, process 4711 on alpha)'

    A name that says nothing more isn't repeated.

    >>> member_name("worker", 2, 4711, "alpha", "alpha-4711")
    'worker 2 (process 4711 on alpha)'
    """
    if not given_name(incarnation, process, host, name):
        return f"{kind} {incarnation} (process {process} on {host})"
    return f"{kind} {name} (number {incarnation}, process {process} on {host})"
