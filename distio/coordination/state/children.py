"""A fiber inherits from the one that starts it."""

from __future__ import annotations

from collections.abc import Sequence

from distio.core.context_vars import copied
from distio.core.fiber import Fiber

__all__ = ["inherit"]


def inherit(children: Sequence[Fiber], parent: Fiber) -> None:
    """Give new fibers the locals of their parent, and a copy of its context variables.

    The cancellation of the run leaves the children of a fiber alone that can't be cancelled.
    """
    for child in children:
        child.exempt_from_run_cancel = parent.shield > 0 or parent.exempt_from_run_cancel
        child.locals = parent.locals
        child.variables = copied(parent.variables)
