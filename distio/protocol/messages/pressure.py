"""How much of what a member has said the coordinator has heard."""

from __future__ import annotations

from typing import ClassVar

from distio.protocol.base import ALL_ROLES, CoordinatorMessage, MemberMessage
from distio.protocol.domains import Count, Role

__all__ = ["AwaitHeard", "Heard"]


class AwaitHeard(MemberMessage, frozen=True, gc=False):
    """Tell this member when what it has said before is heard."""

    roles: ClassVar[frozenset[Role]] = ALL_ROLES
    said: Count
    """How many messages these are, since it is a member."""


class Heard(CoordinatorMessage, frozen=True, gc=False):
    """So many of your messages are heard, and what follows from them was said."""

    is_counted: ClassVar[bool] = False
    may_wake: ClassVar[bool] = True

    said: Count
