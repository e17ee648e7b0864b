"""The overview of a cluster, told to observers.

All answers are bounded: lists have a longest length, fibers are told page by page. Times are
relative: no clocks are compared.
"""

from typing import ClassVar

import msgspec

from distio.protocol.base import (
    CLIENTS,
    READERS,
    CoordinatorMessage,
    FiberId,
    MemberMessage,
    Payload,
)
from distio.protocol.domains import Count, Epoch, Id, Key, Number, Role, Seconds, Snapshots

__all__ = [
    "AskFibers",
    "AskOverview",
    "AskSaved",
    "AskToCancel",
    "CancelTold",
    "ClusterTold",
    "FiberSaved",
    "FiberTold",
    "FibersListed",
    "FibersTold",
    "ListFibers",
    "LockTold",
    "MemberTold",
    "OverviewTold",
    "RunTold",
    "SavedTold",
    "SnapshotSaved",
    "StopListing",
    "pack_page",
    "unpack_page",
]


# -- what is told -----------------------------------------------------------------------------


class MemberTold(msgspec.Struct, frozen=True, gc=False):
    """A member."""

    id: Id
    name: str
    kind: str
    host: str
    process: Count
    threads: Count
    version: str
    """The version of distio there."""
    python: str
    age_seconds: Seconds
    """The time since it has joined."""
    fibers: Count
    """The number of fibers that are alive at the member."""
    ready: Count
    """The number of its fibers that wait for a thread, or have one."""
    blocked: Count
    """The number of its fibers that wait for other fibers."""
    state: str
    """Empty; or that it leaves, or is gone."""


class RunTold(msgspec.Struct, frozen=True, gc=False):
    """A run that goes on."""

    id: Id
    name: str
    """Empty: it ends with its client."""
    owner: str
    """The name of its client; empty: it belongs to nobody."""
    age_seconds: Seconds
    fibers: Count
    blocked: Count
    """The number of its fibers that wait for other fibers."""
    waiting: Count
    """The number of its fibers that wait for a place at a worker."""
    asleep: Count
    """The number of its fibers that sleep at the coordinator."""
    ending: str
    """The reason why the run ends; empty: it doesn't."""


class LockTold(msgspec.Struct, frozen=True, gc=False):
    """A lock, a semaphore, a limit or a variable that somebody uses."""

    key: Key
    tokens: Count
    """0: a lock."""
    lent: Count
    """How many tokens members have."""
    waiting: Count
    """How many fibers wait for it, as far as the coordinator was told."""


class ClusterTold(msgspec.Struct, frozen=True, gc=False):
    """The numbers of a whole cluster."""

    version: str
    """The version of distio at the coordinator."""
    protocol: Count
    members: Count
    runs: Count
    locks: Count
    """How many of the first have tokens out, or fibers waiting."""
    states: dict[str, int]
    """By state, in words: how many fibers are in it."""
    backlog: Count
    """How many chunks of fibers wait for a place."""
    counts: dict[str, int]
    """By what happened, in words: how often."""


class FiberTold(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A fiber, and where it stands."""

    fiber: Id
    run: Id
    name: str
    owner: Id
    """The fiber that ends after it; 0: none is known."""
    state: str
    function: str
    """The function of the user's in which it stands; empty: that isn't known."""
    where: str
    """The file and the line."""
    fibers: list[Id]
    """The first of those for which it waits."""
    more: Count
    """How many others it waits for."""
    lock: Key | None
    """The lock for which it waits."""
    holds: list[Key]
    """The locks that it has."""


class FiberSaved(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A fiber that the coordinator knows, and the snapshot from which it would go on."""

    fiber: FiberId
    epoch: Epoch
    snapshot: Count
    """The number of its snapshot in the listing; 0: it has none."""
    place: Count
    """The place of the fiber in the snapshot."""
    name: str
    """Empty: none is known."""
    at: str
    """The name of the member where it is; empty: it is at none."""
    is_asleep: bool
    is_answered: bool
    """Whether the reply has come to the call in which the snapshot waits."""
    is_misfit: bool
    """Whether some worker doesn't take it, as its code is another."""
    wakes_in: Seconds | None
    """The time until the end of the sleep that the coordinator knows of."""
    restored: Count
    """How many times it has gone on elsewhere after a loss."""
    last_loss: str
    unsaved: str
    """The reason why the fiber has no snapshot, if its member has said so."""


class SnapshotSaved(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A snapshot, which several fibers may share."""

    number: Count
    payload: Payload
    code: bytes
    """The code as in a `Chunk`."""
    is_waiting: bool
    """Whether its only fiber waits for an answer in it."""
    is_taken: bool
    """Whether the snapshot was taken at a worker, or is how its fibers came to theirs."""


_page = msgspec.msgpack.Decoder(list[FiberTold])
_encode = msgspec.msgpack.Encoder().encode


def pack_page(fibers: list[FiberTold]) -> bytes:
    """Fibers as bytes, which the coordinator doesn't open."""
    return _encode(fibers)


def unpack_page(page: bytes) -> list[FiberTold]:
    """The fibers of such bytes.

    Raises:
        msgspec.MsgspecError: they aren't any.

    >>> unpack_page(pack_page([]))
    []
    """
    return _page.decode(page)


# -- to the coordinator -----------------------------------------------------------------------


class AskOverview(MemberMessage, frozen=True, gc=False):
    """Say what goes on."""

    roles: ClassVar[frozenset[Role]] = READERS
    question: Number


class AskFibers(MemberMessage, frozen=True, gc=False):
    """Say which fibers are at a member, page by page; an answer follows to each page."""

    roles: ClassVar[frozenset[Role]] = READERS
    question: Number
    """The same for all pages of a listing."""
    member: Id
    """`NOBODY`: those that wait for a place, or sleep, at the coordinator."""
    run: Id | None
    """The run of the fibers; None: those of all runs."""
    page: Epoch
    """The number of the page, from 0; each page is asked for when the one before has come."""


class AskSaved(MemberMessage, frozen=True, gc=False):
    """Say how the fibers of a run were saved last, page by page; an answer follows to each page."""

    roles: ClassVar[frozenset[Role]] = CLIENTS  # an observer isn't shown what programs have
    question: Number
    """The same for all pages of a listing."""
    run: Id
    fiber: FiberId
    """The only fiber to tell of; 0: all of them."""
    page: Epoch
    """The number of the page, from 0; each page is asked for when the one before has come."""


class AskToCancel(MemberMessage, frozen=True, gc=False):
    """Cancel a run, whoever has started it."""

    roles: ClassVar[frozenset[Role]] = CLIENTS
    question: Number
    run: Id


class FibersListed(MemberMessage, frozen=True, gc=False):
    """A page of fibers; answers a `ListFibers`."""

    listing: Number
    page: Payload
    is_last: bool
    is_cut: bool
    """Whether the member has left fibers out, as it made too many lists at one time."""


# -- to a member ------------------------------------------------------------------------------


class ListFibers(CoordinatorMessage, frozen=True, gc=False):
    """Send a page of the fibers that are here."""

    listing: Number
    run: Id | None
    page: Epoch


class StopListing(CoordinatorMessage, frozen=True, gc=False):
    """The observer asks for the rest of a listing no more."""

    listing: Number


# -- to those who have asked ------------------------------------------------------------------


class OverviewTold(CoordinatorMessage, frozen=True, gc=False):
    """The overview of a cluster; the lists have the first ones."""

    question: Number
    cluster: ClusterTold
    members: list[MemberTold]
    runs: list[RunTold]
    locks: list[LockTold]


class FibersTold(CoordinatorMessage, frozen=True, gc=False):
    """A page of fibers."""

    question: Number
    member: Id
    page: Payload
    is_last: bool
    is_cut: bool = False
    gone: bool = False
    """Whether the member is none any more."""


class SavedTold(CoordinatorMessage, frozen=True, gc=False):
    """A page of what was saved of a run.

    The snapshot and the attachments of a fiber stand on the same page or on a later one. Each
    snapshot and each attachment is told once in a listing.
    """

    question: Number
    is_known: bool
    """Whether the run goes on."""
    is_last: bool
    is_cut: bool = False
    """Whether the rest is left out, as the listing was dropped."""
    owner: str = ""
    """The name of the client of the run; empty: it belongs to nobody."""
    keeps: Snapshots = "off"
    """The snapshots that are kept of its fibers."""
    alive: Count = 0
    """How many fibers of the run go on."""
    fibers: list[FiberSaved] = msgspec.field(default_factory=list)
    snapshots: list[SnapshotSaved] = msgspec.field(default_factory=list)
    attachments: list[tuple[bytes, Payload]] = msgspec.field(default_factory=list)
    """By digest: what snapshots refer to."""


class CancelTold(CoordinatorMessage, frozen=True, gc=False):
    """Whether the run is being cancelled; if not, no such run goes on."""

    question: Number
    is_known: bool
