"""How the first call of a plain function begins: this process and the fork server import distio.

Each of them takes longer for that than for all else until the first result. So whatever users of
plain functions mention first imports little: when it is called, it has the server start, and
imports the rest meanwhile.
"""

from __future__ import annotations

import sys
from typing import Any

from distio._imports import has_imported, import_all, imported_alone

__all__ = ["begin"]


def begin(*, may_need_workers: bool) -> None:
    """Import what a call needs, unless it is there.

    Args:
        may_need_workers: whether the fork server is to start before.
    """
    if has_imported():
        return
    if may_need_workers and not _is_in_worker():
        imported_alone("distio.runtime.head_start")
        from distio.runtime.head_start import give_head_start

        give_head_start()
    import_all()


def _is_in_worker() -> bool:
    """Whether this is a worker, in which calls of plain functions need no others."""
    spaces: Any = sys.modules.get("distio.core.pickling.spaces")  # which workers have imported
    return spaces is not None and spaces.current_space().is_worker
