"""Operations that say what must not be done again when a worker is lost."""

from __future__ import annotations

from typing import Any, Final, final

from distio.core.fiber import Fiber
from distio.core.interrupts import is_user_call
from distio.core.ops.base import IO, Frame, Next
from distio.core.ops.values import Defer
from distio.errors import InDoubt
from distio.protocol.requests.checkpoints import SAVE
from distio.protocol.requests.checkpoints import Checkpoint as AwaitStored

__all__ = ["Calling", "Checkpoint", "Once", "Step"]


@final
class Checkpoint(IO[Any, Any, Any]):
    """Wait until a snapshot of the fiber is stored; the value is None."""

    __slots__ = ()

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        fiber.request = AwaitStored()
        return None


@final
class _Saved(Frame):
    """Lets a snapshot leave with the outcome of a call, whatever that is."""

    __slots__ = ()

    def _succeeded(self, fiber: Fiber) -> Next:
        fiber.request = SAVE
        return None

    def _failed(self, fiber: Fiber) -> Next:
        fiber.request = SAVE
        return None

    def __reduce__(self) -> str:
        return "_SAVED"


_SAVED: Final = _Saved()


@final
class Step(Defer):
    """A call whose outcome is saved; its result is the value."""

    __slots__ = ()
    _called = "step"

    @is_user_call
    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.stack.append(_SAVED)
        return super()._evaluate(fiber)


@final
class Once(Defer):
    """A call that is made at most once; its result is the value.

    The call is made when a snapshot is stored from which the fiber would go on in doubt.
    """

    __slots__ = ()
    _called = "once"

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.value = None
        fiber.stack.append(Calling(self))
        fiber.request = AwaitStored()
        return None

    @is_user_call
    def call(self, fiber: Fiber) -> Next:
        """Make the call."""
        fiber.stack.append(_SAVED)
        return super()._evaluate(fiber)


@final
class Calling(Frame):
    """Makes the call of `once`, now that a fiber which goes on from a snapshot would be in doubt.

    A fiber that leaves its member before hasn't made the call: it asks anew where it goes.
    """

    __slots__ = ("io",)

    def __init__(self, io: Once) -> None:
        self.io = io

    @is_user_call
    def _succeeded(self, fiber: Fiber) -> Next:
        return self.io.call(fiber)

    def in_doubt(self) -> Frame:
        """The frame of the fiber in a snapshot: the call may have been made."""
        return _Doubting(getattr(self.io.f, "__qualname__", None) or repr(self.io.f))

    def _as_frame(self) -> Frame:
        return _Anew(self.io)


@final
class _Doubting(Frame):
    """Fails, since nobody knows whether the call was made."""

    __slots__ = ("function",)

    def __init__(self, function: str) -> None:
        self.function = function

    def _succeeded(self, fiber: Fiber) -> Next:
        raise InDoubt(self.function, fiber.label)


@final
class _Anew(Frame):
    """Begins again with what was to be done once."""

    __slots__ = ("io",)

    def __init__(self, io: Once) -> None:
        self.io = io

    def _succeeded(self, fiber: Fiber) -> Next:
        return self.io
