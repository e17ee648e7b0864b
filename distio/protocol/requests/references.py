"""References to what fibers share: it lives as long as they can reach it."""

from __future__ import annotations

from typing import Self

__all__ = ["Counted"]


class Counted:
    """A reference; as long as there are any, what it stands for lives.

    A copy that distio doesn't make itself, in a pickle of the user's, makes that live with its run.
    """

    __slots__ = ()

    def pin(self) -> None:
        """A copy leaves, and nobody will tell where it goes."""
        claim = getattr(self, "claim", None)
        if claim is not None:
            claim.pin()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self
