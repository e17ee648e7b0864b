"""The first item of many, whose function is called alone, before that of any other item.

A function that returns no IO has done its work when that is seen. So a plain function that stands
where one that makes programs is expected is found out with one item, not with all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, final

from distio.core.context_vars import changes, copied, put
from distio.core.fiber import Fiber
from distio.core.interrupts import is_user_call, runs_user_code
from distio.core.ops.arguments import no_io
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.failures import from_result
from distio.core.ops.scopes import zip_par
from distio.core.ops.unary import UnaryOp
from distio.core.ops.values import TraversedPar
from distio.core.where import TRAVERSE_PAR, in_item

__all__ = ["TraverseAll", "begin"]

Variables = dict[ContextVar[Any], Any]


@is_user_call
def begin(f: Callable[[Any], Any], item: Any) -> Any:
    """Call the user's function for an item, whose program will run in a fiber of its own.

    Returns:
        The program; what the function has returned, if that is no IO.
    """
    before = copy_context()
    apart = copied(before) or Context()
    io = apart.run(f, item)
    return _Begun(io, changes(dict(before), dict(apart))) if isinstance(io, IO) else io


@final
class _Begun(UnaryOp):
    """The program of an item, with the context variables that its function has set."""

    __slots__ = ("variables",)
    _names = ("io", "variables")

    def __init__(self, io: Any, variables: Variables) -> None:
        super().__init__(io)
        self.variables = variables

    def _evaluate(self, fiber: Fiber) -> Next:
        put(self.variables)
        return self.io  # type: ignore[no-any-return]  # `begin` has looked


@final
class _First(UnaryOp):
    """The program of the first item; a failure names the item."""

    __slots__ = ("item",)
    _names = ("io", "item")
    _only_tells = True

    def __init__(self, io: Any, item: Any) -> None:
        super().__init__(io)
        self.item = item

    def _failed(self, fiber: Fiber) -> Next:
        assert fiber.failure is not None
        fiber.failure = in_item(fiber.failure, TRAVERSE_PAR, 0, self.item)
        return None


@final
class TraverseAll(IO[Any, Any, Any], Frame):
    """Run the program of each item in a fiber of its own; the value is the list of values."""

    __slots__ = _names = ("ios", "fail_fast")

    def __init__(self, ios: tuple[TraversedPar, ...], fail_fast: bool) -> None:
        self.ios = ios
        self.fail_fast = fail_fast

    @runs_user_code
    def _evaluate(self, fiber: Fiber) -> Next:
        if not self.ios:
            return zip_par((), TRAVERSE_PAR, self.fail_fast)
        first = self.ios[0]
        fiber.stack.append(self)  # an exception of the function is a failure of the first item
        io = begin(first.f, first.item)
        fiber.stack.pop()
        if not isinstance(io, IO):
            raise no_io(io, TRAVERSE_PAR, first.f)
        return self._all(io)

    def _all(self, io: Any) -> Next:
        ios = (_First(io, self.ios[0].item), *self.ios[1:])
        return zip_par(ios, TRAVERSE_PAR, self.fail_fast)

    def _failed(self, fiber: Fiber) -> Next:
        failure = fiber.failure
        assert failure is not None
        if self.fail_fast or fiber.is_unwinding_cancel:
            fiber.failure = in_item(failure, TRAVERSE_PAR, 0, self.ios[0].item)
            return None
        fiber.failure = None
        return self._all(from_result(failure))
