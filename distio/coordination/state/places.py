"""The needs of placed fibers, what they hold at members, and which of them wait for a place.

Rules
-----
- A placed fiber holds what it needs from the moment in which it is sent to a member until it has
  ended there, or has left, or the member is lost. A member never gives more than it has.
- Chunks wait in the order in which they came; those that had a place come before new ones. A chunk
  that waits for amounts of a member claims them: what came later, and needs the same, waits behind
  it. So no fiber that needs much is starved by others that need little.
- A chunk that fits no member claims nothing, and nothing waits behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Final, TypeAlias, final

from distio.coordination.state.members import MemberRecord
from distio.errors import DistioBug
from distio.protocol.ids import name_of
from distio.protocol.messages.membership import Hello
from distio.protocol.messages.placement import Chunk, Needs

__all__ = ["Places", "fits"]

Kind: TypeAlias = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, float], ...], bytes]
"""(tags, amounts, code): chunks of one kind fit the same members."""
Preference: TypeAlias = Callable[[MemberRecord, Needs], tuple[int, float, int]]
Rank: TypeAlias = tuple[bool, int]
"""The place of a chunk in the order: (whether it is new, its number)."""

_UNITS: Final = 1_000_000
"""The units of an amount of 1: whole numbers have exact sums."""

_NONE: Final[Mapping[str, int]] = {}


def _kind_of(needs: Needs, code: bytes) -> Kind:
    """The kind of a chunk."""
    return tuple(sorted(needs.tags.items())), tuple(sorted(needs.amounts.items())), code


def fits(member: MemberRecord, needs: Needs, code: bytes = b"") -> bool:
    """Whether a member has what is needed, if nobody else holds any of it."""
    return (
        member.is_worker
        and member.is_staying
        and not (member.refused and code in member.refused)
        and _has(member.hello, needs)
    )


def _has(hello: Hello, needs: Needs) -> bool:
    return all(hello.tags.get(name) == value for name, value in needs.tags.items()) and all(
        hello.resources.get(name, 0) >= amount for name, amount in needs.amounts.items()
    )


def _units(amount: float) -> int:
    return round(amount * _UNITS)


@final
class Places:
    """The books of placed fibers."""

    def __init__(self) -> None:
        self.needs: dict[int, Needs] = {}
        """By placed fiber that goes on: what it needs."""
        self._fresh: list[Chunk] = []
        """The chunks that have begun to wait since that was last asked."""
        self._orders: dict[Kind, list[Rank]] = {}
        """By kind: a heap of the chunks that wait; those that have left are passed over."""
        self._chunks: dict[Rank, Chunk] = {}
        self._rank_of: dict[int, Rank] = {}
        """The ranks of fibers that wait."""
        self._count = 0
        self._held: dict[int, dict[int, None]] = {}
        """By member: the placed fibers that are there."""
        self._at: dict[int, int] = {}
        """By placed fiber that has a place: the member."""
        self._used: dict[int, dict[str, int]] = {}
        """By member: how much of each resource they hold, in units."""

    # -- what is held ---------------------------------------------------------------------

    def take(self, member: int, fiber: int) -> None:
        """A fiber is sent to a member."""
        needs = self.needs.get(fiber)
        if needs is None:
            return
        self._at[fiber] = member
        self._held.setdefault(member, {})[fiber] = None
        used = self._used.setdefault(member, {})
        for name, amount in needs.amounts.items():
            used[name] = used.get(name, 0) + _units(amount)

    def give_back(self, fiber: int) -> bool:
        """A fiber isn't at its member any more; return whether it held something there."""
        member = self._at.pop(fiber, None)
        if member is None:
            return False
        held, used = self._held[member], self._used[member]
        del held[fiber]
        for name, amount in self.needs[fiber].amounts.items():
            used[name] -= _units(amount)
        if not held:
            del self._held[member], self._used[member]
        return True

    def forget(self, fiber: int) -> bool:
        """A fiber has ended, or is lost; return whether it held something."""
        if fiber not in self.needs:
            return False
        held = self.give_back(fiber)
        del self.needs[fiber]
        return held

    def member_lost(self, member: int) -> None:
        """Give back all that placed fibers hold at this member."""
        for fiber in [*self._held.get(member, ())]:
            self.give_back(fiber)

    def hosts(self) -> list[int]:
        """The members at which placed fibers are."""
        return [*self._held]

    def used(self, member: int) -> dict[str, float]:
        """How much of each resource is held at a member."""
        used = self._used.get(member, _NONE)
        return {name: units / _UNITS for name, units in used.items() if units}

    def free(self, member: MemberRecord) -> dict[str, float]:
        """How much of each resource a member can give."""
        used = self._used.get(member.id, _NONE)
        resources = member.hello.resources.items()
        return {name: (_units(has) - used.get(name, 0)) / _UNITS for name, has in resources}

    def _has_free(self, member: MemberRecord, needs: Needs) -> bool:
        used, has = self._used.get(member.id, _NONE), member.hello.resources
        return all(
            used.get(name, 0) + _units(amount) <= _units(has.get(name, 0))
            for name, amount in needs.amounts.items()
        )

    # -- what waits -----------------------------------------------------------------------

    def add(self, chunk: Chunk, *, had_place: bool) -> None:
        """The chunk of a placed fiber waits."""
        ((fiber, _),) = chunk.fibers
        needs = self.needs[fiber]
        self._count += 1
        rank = self._rank_of[fiber] = not had_place, self._count
        self._chunks[rank] = chunk
        self._fresh.append(chunk)
        heappush(self._orders.setdefault(_kind_of(needs, chunk.code), []), rank)

    @property
    def has_fresh(self) -> bool:
        """Whether some have begun to wait since `take_fresh`."""
        return bool(self._fresh)

    def take_fresh(self) -> list[Chunk]:
        """Take out those that have begun to wait, and still do."""
        fresh, self._fresh = self._fresh, []
        return [chunk for chunk in fresh if chunk.fibers[0][0] in self._rank_of]

    def chunk_of(self, fiber: int) -> Chunk | None:
        """The chunk of a fiber; None if it doesn't wait."""
        rank = self._rank_of.get(fiber)
        return None if rank is None else self._chunks[rank]

    def take_out(self, fiber: int) -> Chunk | None:
        """The chunk of a fiber waits no longer; None if it doesn't wait."""
        rank = self._rank_of.pop(fiber, None)
        return None if rank is None else self._chunks.pop(rank)

    def drop(self, run: int) -> list[Chunk]:
        """Take out the chunks of this run."""
        fibers = [each.fibers[0][0] for each in self._chunks.values() if each.run == run]
        return [chunk for fiber in fibers if (chunk := self.take_out(fiber)) is not None]

    def kinds(self, most: int) -> list[tuple[Needs, int]]:
        """The needs of the first kinds of waiting chunks, and about how many chunks have each."""
        first = list(islice(self._orders.items(), most))
        return [
            (Needs(dict(tags), dict(amounts)), len(order)) for (tags, amounts, _), order in first
        ]

    def placements(
        self, members: Iterable[MemberRecord], prefer: Preference
    ) -> Iterator[tuple[Chunk, MemberRecord]]:
        """Take out chunks with the members that they go to, in order, as long as there are places.

        A caller that gets a chunk sends it before asking for the next one.

        Args:
            members: all members.
            prefer: of the members that would do, the one for which this is least gets the fiber.
        """
        claimed: set[tuple[int, str]] = set()
        firsts = [(first, kind) for kind in [*self._orders] if (first := self._first(kind))]
        heapify(firsts)
        while firsts:
            rank, kind = heappop(firsts)
            chunk = self._chunks[rank]
            ((fiber, _),) = chunk.fibers
            needs = self.needs[fiber]
            fitting = [member for member in members if fits(member, needs, chunk.code)]
            takers = [
                member
                for member in fitting
                if (member.takes_fibers if chunk.is_waiting else member.has_room)
                and self._has_free(member, needs)
                and not any((member.id, name) in claimed for name in needs.amounts)
            ]
            if not takers:
                claimed.update((member.id, name) for member in fitting for name in needs.amounts)
                continue
            self.take_out(fiber)
            yield chunk, min(takers, key=lambda member: prefer(member, needs))
            if first := self._first(kind):
                heappush(firsts, (first, kind))

    def _first(self, kind: Kind) -> Rank | None:
        """The chunk of this kind that is next; a kind of which none waits is forgotten."""
        order = self._orders[kind]
        while order and order[0] not in self._chunks:
            heappop(order)
        if order:
            return order[0]
        del self._orders[kind]
        return None

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._chunks.values())

    # -- checks ---------------------------------------------------------------------------

    def validate(self, members: Mapping[int, MemberRecord], hosts: Mapping[int, int]) -> None:
        """Check that no member has given more than it has, and that the books are right.

        Args:
            members: all members.
            hosts: by placed fiber: where it is.

        Raises:
            DistioBug: it has, or they aren't.
        """
        for fiber, member in self._at.items():
            if hosts.get(fiber) != member:
                raise DistioBug(f"fiber {name_of(fiber)} holds a place at member {member}")
            if not _has(members[member].hello, self.needs[fiber]):
                raise DistioBug(f"fiber {name_of(fiber)} doesn't fit member {member}")
        for fiber, host in hosts.items():
            if host in members and self._at.get(fiber) != host:
                raise DistioBug(f"fiber {name_of(fiber)} is at member {host} without its place")
        if self._used.keys() != self._held.keys():
            raise DistioBug(f"{[*self._used]} have given something, but hold {[*self._held]}")
        for id, held in self._held.items():
            total: dict[str, int] = {}
            for fiber in held:
                for name, amount in self.needs[fiber].amounts.items():
                    total[name] = total.get(name, 0) + _units(amount)
            has = members[id].hello.resources
            if any(count > _units(has.get(name, 0)) for name, count in total.items()):
                raise DistioBug(f"member {id} has given more than it has: {total} of {has}")
            if total != {name: used for name, used in self._used[id].items() if name in total}:
                raise DistioBug(f"what is held at member {id} is miscounted")
