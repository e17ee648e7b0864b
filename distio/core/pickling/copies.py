"""Several fibers with copies of one generator: where they got it, in words for the programmer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from distio.core.explain import way_to
from distio.core.fiber import Fiber
from distio.core.ops.elsewhere import CallElsewhere
from distio.core.snapshot import generators_in

__all__ = ["shared_by_fibers", "why_numbers_repeat"]

_IN_PROGRAMS: Final = (
    "let each fiber have a generator of its own: io.random_generator makes one, and io.random_seed "
    "the seed of one"
)
_IN_PLAIN_FUNCTIONS: Final = (
    "give each item a seed of its own: np.random.SeedSequence(42).spawn(n) makes n of them"
)


def shared_by_fibers(fibers: Sequence[Fiber], again: Sequence[Any]) -> tuple[Fiber, Any] | None:
    """A fiber with a generator of which another one has a copy, and the generator; or None.

    Args:
        fibers: those that leave together, with at least one generator.
        again: the generators of which other fibers have taken copies along before.
    """
    if len(fibers) == 1:
        return (fibers[0], again[0]) if again else None
    seen = {id(generator) for generator in again}
    for fiber in fibers:
        for generator in generators_in(fiber):
            if id(generator) in seen:
                return fiber, generator
            seen.add(id(generator))
    return None


def why_numbers_repeat(fiber: Fiber, generator: Any) -> str:
    """The warning that several fibers have copies of a generator, with the remedy."""
    way, _ = way_to(fiber, _fails_on(generator))
    kind = type(generator)
    where = f" ({', '.join(way)})" if way else ""
    who, instead = "fibers", _IN_PROGRAMS
    if isinstance(fiber.next, CallElsewhere):
        who, instead = "calls", _IN_PLAIN_FUNCTIONS
    return (
        f"several {who} have taken along a copy of one {kind.__module__}.{kind.__qualname__}"
        f"{where}, and each copy draws the same numbers; {instead}"
    )


class _Found(Exception):
    """The generator is in there."""


def _fails_on(generator: Any) -> Callable[[Any], None]:
    def look(part: Any) -> None:
        if any(each is generator for each in generators_in(part)):
            raise _Found

    return look
