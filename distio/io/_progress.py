"""The bar that `progress=True` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bar"]

_REFRESHES_PER_SECOND: Final = 10


@final
class Bar:
    """A bar on standard error, if that is a terminal; made when there is something to show.

    Call it with how many items are done, and of how many (None: nobody knows).
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __call__(self, done: int, total: int | None) -> None:
        """Show this."""
        if self._progress is None:
            self._progress = _make()
            self._task = self._progress.add_task("", total=total)
            self._progress.start()
        assert self._task is not None
        self._progress.update(self._task, completed=done)

    def close(self) -> None:
        """Take it away; to do so again does nothing."""
        # rich before 14.3 ends a bar that it hasn't shown by an empty line
        if self._progress is not None and not self._progress.disable:
            self._progress.stop()

    def __del__(self) -> None:
        # after Ctrl-C nobody else does it, and the cursor would stay hidden
        self.close()


def _make() -> Progress:
    # importing rich takes its time, and most programs show no bar
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        refresh_per_second=_REFRESHES_PER_SECOND,
        disable=not console.is_terminal,
    )
