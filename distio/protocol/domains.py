"""The domains of numbers and words in messages: decoding refuses all others.

A member is another process, perhaps a faulty one. A number outside of its domain would reach
arithmetic, heaps and encoders that take it for sound. So the types of the messages state the
domain, and no handler has to check it. The gate (`coordination.gate`) decides whether the sender
may send the message at all.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final, Literal

from msgspec import Meta

__all__ = [
    "LABEL",
    "LARGEST",
    "LARGEST_AMOUNT",
    "LONGEST_LABEL",
    "LONGEST_NAME",
    "MOST_LABELS",
    "MOST_SECONDS",
    "SMALLEST_AMOUNT",
    "SNAPSHOTS",
    "Amount",
    "Capacity",
    "Count",
    "Digest",
    "Epoch",
    "Id",
    "Key",
    "Label",
    "MemberKind",
    "MemberName",
    "Method",
    "NamedRunAction",
    "NamedRunRefusal",
    "NamedRunState",
    "Number",
    "OutcomeKind",
    "Positive",
    "PrimitiveKind",
    "Resources",
    "Role",
    "RunName",
    "Seconds",
    "Sequence",
    "Snapshots",
    "Tags",
    "Threads",
    "Token",
    "Tokens",
]

LARGEST: Final = 2**63 - 1
"""The largest number that a program may hand to the protocol: a capacity, a count, tokens."""

Id = Annotated[int, Meta(ge=0, le=LARGEST)]
"""A fiber, a run, a member, a lock without a name, a primitive."""

Key = Id | str
"""A lock: an id, or a name."""

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""How many: of what a process counts one by one."""

Positive = Annotated[int, Meta(ge=1, le=2**53)]
"""How many, and not none."""

Epoch = Annotated[int, Meta(ge=0, le=2**53)]
"""How often a fiber was placed."""

Sequence = Annotated[int, Meta(ge=0, le=2**40)]
"""The number of a fiber among those of its maker."""

Number = Annotated[int, Meta(ge=0, le=LARGEST)]
"""A number that comes from a program, from 0."""

Tokens = Annotated[int, Meta(ge=1, le=LARGEST)]
"""How many tokens of a lock, whose number a program has chosen, and not none."""

Capacity = Annotated[int, Meta(ge=-1, le=LARGEST)]
"""The size of a primitive; -1: no limit."""

MOST_SECONDS: Final = sys.float_info.max

Seconds = Annotated[float, Meta(ge=0.0, le=MOST_SECONDS)]
"""Finite, and not negative."""

LARGEST_AMOUNT: Final = 1e12
SMALLEST_AMOUNT: Final = 1e-6
"""Amounts of resources are counted in these."""

Amount = Annotated[float, Meta(ge=0.0, le=LARGEST_AMOUNT)]
"""How much of a resource: finite, and not negative."""

Threads = Annotated[int, Meta(ge=1, le=2**16)]
"""How many threads a member has: more than any machine lets a process have are a mistake."""

Token = Annotated[bytes, Meta(max_length=64)]
"""Pairs the two connections of a member."""

Snapshots = Literal["off", "births", "suspensions"]
"""The snapshots that are kept of a run's fibers, to go on from when a worker is lost.

With "births" a fiber as it came to its worker; with "suspensions" also a fiber as it was each time
when it had done something that others see; with "off", nothing.
"""

SNAPSHOTS: Final[Snapshots] = "suspensions"
"""Unless a program or its cluster says otherwise."""

MemberKind = Literal["client", "observer", "supervisor", "worker"]
"""The kinds of members. A supervisor is a client that starts no run: it has started workers. An
observer looks at the cluster, and changes nothing."""

Role = Literal["any", "client", "observer", "worker"]
"""The rights of a peer, by its key; "any": it has no key, and needs none."""
MOST_LABELS: Final = 64
"""How many tags, or kinds of resources, a member may have."""

LONGEST_LABEL: Final = 100

LABEL: Final = r"^[^\x00-\x20\x7f-\xa0]*\Z"
"""Printable, on one line, and without spaces: it can be said on a command line."""

Label = Annotated[str, Meta(min_length=1, max_length=LONGEST_LABEL, pattern=LABEL)]
"""The name of a tag or of a resource, or the value of a tag."""

MemberName = Annotated[str, Meta(max_length=LONGEST_LABEL, pattern=LABEL)]
"""The name of a member, which is unique among those that live; empty: it is to get one."""

Tags = Annotated[dict[Label, Label], Meta(max_length=MOST_LABELS)]
"""The properties of a member, in words."""

Resources = Annotated[dict[Label, Amount], Meta(max_length=MOST_LABELS)]
"""How much of what a member has, beside threads."""

Digest = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""The digest of a program."""

LONGEST_NAME: Final = 200
"""How many characters the name of a run may have."""

RunName = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
"""The name of a run that outlives its client; see `core.expect.run_name`."""

OutcomeKind = Literal["ok", "errors", "panic"]
"""How a root ended."""

NamedRunState = Literal["running", "ending", "ok", "errors", "panic"]
"""How a named run fares, or how it ended."""

NamedRunAction = Literal["attach", "cancel", "forget", "describe"]
"""The action of a client on a named run. A client that attaches hears of its end."""

NamedRunRefusal = Literal["unknown", "another program", "runs", "too many"]
"""Why the coordinator refuses something about a named run."""

PrimitiveKind = Literal["barrier", "deferred", "latch", "queue", "topic"]
"""The kinds of primitives."""

Method = Literal[
    "close",
    "count",
    "count_down",
    "get",
    "is_set",
    "offer",
    "poll",
    "publish",
    "put",
    "set",
    "size",
    "subscribe",
    "take",
    "unsubscribe",
    "wait",
]
"""A method of a primitive."""
