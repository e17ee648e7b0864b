"""The work of a hand that drops objects of the user, which may run code when they die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from distio.coordination.executor.tasks import HostServices
    from distio.coordination.member import Member

__all__ = ["DropObjects"]


@final
class DropObjects:
    """Nobody can reach these any more."""

    __slots__ = ("_objects",)

    def __init__(self, objects: list[Any]) -> None:
        self._objects = objects

    def run(self, host: HostServices) -> None:
        """Drop them."""
        self._objects.clear()

    def commit(self, member: Member) -> None:
        """Nothing follows."""
