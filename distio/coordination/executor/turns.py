"""Requests of a fiber that concern nobody but the executor that steps it."""

from __future__ import annotations

from typing import final

from distio.coordination.dispatch import answers
from distio.coordination.feature.member import MemberFeature
from distio.coordination.state.member import MemberState
from distio.core.fiber import Fiber
from distio.protocol import requests as rq

__all__ = ["Turns"]


@final
class Turns(MemberFeature):
    """Lets fibers give way, and go on."""

    def __init__(self, state: MemberState) -> None:
        self._state = state

    @answers
    def give_way(self, fiber: Fiber, request: rq.Yielded) -> None:
        """Others have their turn before the fiber has its next."""
        self._state.ready.append(fiber)

    @answers
    def go_on(self, fiber: Fiber, request: rq.Now | rq.Random | rq.Switched) -> Fiber:
        """The executor has answered."""
        return fiber
