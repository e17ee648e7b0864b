"""The task that drops objects of the user, which may run code when they die."""

from __future__ import annotations

from typing import Any, final

from distio.coordination.executor.services import HostServices
from distio.coordination.executor.tasks import Task

__all__ = ["DropObjects"]


@final
class DropObjects(Task):
    """Drops objects that no fiber can reach any more."""

    __slots__ = ("_objects",)
    is_chore = True  # objects that die with the host run their code then

    def __init__(self, objects: list[Any]) -> None:
        self._objects = objects

    def run(self, host: HostServices) -> None:
        """Drop the objects."""
        self._objects.clear()
