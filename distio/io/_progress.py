"""The bar that `progress=True` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from distio._display.meter import Meter

__all__ = ["Bar"]


@final
class Bar:
    """A bar of the display of this process.

    Call it with how many items are done, and of how many (None: nobody knows). In another process
    it is another bar.

    Args:
        label: what it is about.
        total: how many items there are; None: nobody knows.
    """

    __slots__ = ("_begun_with", "_meter")

    def __init__(self, label: str, total: int | None) -> None:
        # the modules are imported here: most programs show no bar
        from distio._display.display import shared
        from distio._display.meter import Counts, Meter

        self._begun_with = label, total
        self._meter: Meter = Meter(label)
        self._meter.counts = Counts(0, total)
        shared.begin(self._meter)

    def __call__(self, done: int, total: int | None) -> None:
        """Show these counts."""
        from distio._display.meter import Counts

        self._meter.counts = Counts(done, total)

    def close(self, patience: float = 1.0) -> None:
        """Take the bar away; to do so again does nothing.

        Args:
            patience: for how many seconds to wait until that is drawn.
        """
        if not self._meter.is_over:
            from distio._display.display import shared

            shared.end(self._meter, patience)

    def __reduce__(self) -> tuple[Any, ...]:
        return Bar, self._begun_with

    def __del__(self) -> None:
        # after Ctrl-C nobody else does it, and the cursor would stay hidden
        self.close(patience=0.0)
