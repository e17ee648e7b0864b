"""What fibers talk by: entries that know neither members nor messages.

The coordinator keeps them, with items as bytes; a member that is alone in its cluster keeps them
itself, with the items as they are. What they decide is the same.
"""

from distio.coordination.talking.entries import NOT_OURS, Answer, Entry, Unknown
from distio.coordination.talking.kinds import make_entry
from distio.coordination.talking.meetings import Barrier, Deferred, Latch
from distio.coordination.talking.queues import NO_LIMIT, Queue, Topic

__all__ = [
    "NOT_OURS",
    "NO_LIMIT",
    "Answer",
    "Barrier",
    "Deferred",
    "Entry",
    "Latch",
    "Queue",
    "Topic",
    "Unknown",
    "make_entry",
]
