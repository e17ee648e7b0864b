"""The invariants of all primitives, of the fibers that wait at them, and of delegations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from distio.coordination.primitives.delegations import Delegations
from distio.coordination.primitives.primitive import Primitive
from distio.coordination.primitives.waiters import Waiters
from distio.coordination.state.coordinator import CoordinatorState
from distio.errors import DistioBug
from distio.protocol.ids import name_of

__all__ = ["Books"]


class Books(NamedTuple):
    """The coordinator's books of primitives."""

    state: CoordinatorState
    primitives: Mapping[int, tuple[int, Primitive]]
    """By key: the run, and the primitive."""
    delegations: Mapping[int, Delegations]
    waiters: Waiters

    def spoilt_runs(self) -> set[int]:
        """The runs of which a primitive isn't what it must be."""
        waiting_at: dict[int, set[int]] = {}
        spoilt = set()
        for fiber, waiter in self.waiters.items():
            waiting_at.setdefault(waiter.key, set()).add(fiber)
            if not self.state.is_somewhere(waiter.member):
                spoilt.add(waiter.run)
        for key, (run, primitive) in self.primitives.items():
            waiting = waiting_at.get(key, set())
            if waiting != self._waiting(key, primitive) or self._is_spoilt(key, primitive):
                spoilt.add(run)
        return spoilt

    def _is_spoilt(self, key: int, primitive: Primitive) -> bool:
        try:
            primitive.validate()
            if key in self.delegations:
                self._validate_delegations(self.delegations[key])
        except DistioBug:
            return True
        return False

    def validate(self) -> None:
        """Check each primitive, and that its fibers wait, its run goes on, its members exist."""
        waiting: dict[int, int] = {}
        for key, (run, primitive) in self.primitives.items():
            primitive.validate()
            if run not in self.state.runs:
                raise DistioBug(f"a primitive outlives run {name_of(run)}")
            waiting.update(dict.fromkeys(self._waiting(key, primitive), key))
        if waiting != {fiber: waiter.key for fiber, waiter in self.waiters.items()}:
            raise DistioBug(f"{waiting} wait to be answered, but {self.waiters} are known")
        for each in self.delegations.values():
            self._validate_delegations(each)
        for waiter in self.waiters.values():
            if not self.state.is_somewhere(waiter.member):
                raise DistioBug(f"member {waiter.member} is gone, but its fibers wait for answers")

    def _waiting(self, key: int, primitive: Primitive) -> set[int]:
        delegations = self.delegations.get(key)
        delayed = () if delegations is None else delegations.delayed
        return {*primitive.waiting(), *delayed}

    def _validate_delegations(self, delegations: Delegations) -> None:
        if not self.state.members.keys() >= {*delegations.holders, *delegations.recalled}:
            raise DistioBug("a member is gone, but may do something with a queue")
        if delegations.delayed and not delegations.recalled:
            raise DistioBug("fibers wait until a queue has come back, and it has")
