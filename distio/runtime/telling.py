"""SIGUSR1: a process prints which fibers it has, and where they stand, on standard error.

Python calls the handler in the midst of other code, perhaps with a mutex held. So the handler only
leaves a call with the messenger. A helper lists the fibers under the mutex of their host, and
describes them without it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the module `signal` is made of it
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from distio.coordination.overview.text import count_of, line_of_fiber
from distio.runtime.main_thread import is_main_thread
from distio.runtime.messenger import hand_over, start_messenger

if TYPE_CHECKING:
    from distio.runtime.host import Host

_NUMBER: Final = int(signal.SIGUSR1)
_DEFAULT: Final = _signal.SIG_DFL
_handler_of: Final = _signal.getsignal
_set_handler: Final = _signal.signal
"""The function behind `signal.signal`: it makes no members of enumerations, as each run asks."""

__all__ = ["hosts", "lines_of", "on_sigusr1", "say", "tell_at_sigusr1", "tell_no_more"]

hosts: Final[WeakSet[Host]] = WeakSet()
"""The hosts of this process."""


def tell_at_sigusr1() -> bool:
    """Tell at SIGUSR1 from now on, unless something handles it; only for the main thread.

    Returns:
        Whether nothing did.
    """
    if _handler_of(_NUMBER) is not _DEFAULT or not is_main_thread():
        return False
    start_messenger()
    _set_handler(_NUMBER, on_sigusr1)
    return True


def tell_no_more() -> None:
    """Let SIGUSR1 do what it does by default, unless another handler was set meanwhile."""
    if _handler_of(_NUMBER) is on_sigusr1:
        _set_handler(_NUMBER, _DEFAULT)


def on_sigusr1(*_: Any) -> None:
    """Have another thread tell how this process fares; never raises."""
    hand_over(_begin_to_tell)


def _begin_to_tell() -> None:
    from distio.runtime.blocking import in_background  # which knows programs; a coordinator doesn't

    in_background(_tell)


def _tell() -> None:
    for host in list(hosts):
        if not (host.is_stopping or host.is_inherited):
            say(lines_of(host))


def lines_of(host: Host) -> Iterator[str]:
    """The fibers of a host that are here now."""
    overview = host.member.features.overview
    with host.mutex:
        found = list(overview.begin(None))
    told = [fiber for work in found for fiber in overview.tell(work)]
    who = host.member.worker or f"member {host.member.incarnation}"
    yield f"distio: process {os.getpid()}, {who}, has {count_of(len(told), 'fiber')}"
    for fiber in told:
        yield f"  {line_of_fiber(fiber)}"


def say(lines: Iterable[str]) -> None:
    """Print on standard error, if there is one."""
    if sys.stderr is not None:
        print("\n".join(lines), file=sys.stderr, flush=True)
