"""One member: its run queue, its parked fibers, and what it has told the coordinator."""

from distio.coordination.member.machine import Member
from distio.coordination.member.work import Offering, Parcel, Posting, Work

__all__ = ["Member", "Offering", "Parcel", "Posting", "Work"]
