"""One member: its run queue, its parked fibers, and what it has told the coordinator."""

from distio.coordination.member.callbacks import Callback
from distio.coordination.member.hand import Hand
from distio.coordination.member.machine import Member
from distio.coordination.member.status import describe_fibers
from distio.coordination.member.work import (
    Finishing,
    Offering,
    Parcel,
    Posting,
    Shipping,
    Surroundings,
    Task,
    Work,
)

__all__ = [
    "Callback",
    "Finishing",
    "Hand",
    "Member",
    "Offering",
    "Parcel",
    "Posting",
    "Shipping",
    "Surroundings",
    "Task",
    "Work",
    "describe_fibers",
]
