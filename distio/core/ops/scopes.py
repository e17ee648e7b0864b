"""Scopes of fibers: the fibers that are started in a scope end before the scope does.

A scope is a region (`ops/regions.py`) that knows its children. A child runs in the same scope
itself, as a region of its own fiber. So a child may start further fibers, and ends after them. No
other part of distio knows of scopes. A fiber that fails cancels the region of its parent, which
then cancels its other children and fails with all of them. One that is lost for good can't: for it,
the coordinator does so (`coordination/cancellation/`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, final

from distio.core.fiber import FEW, Fiber, Handle, Region
from distio.core.ops.base import IO, Frame, Next, require_io
from distio.core.ops.failures import RestoreResult, from_result
from distio.core.ops.fibers import Wait, WaitSome
from distio.core.ops.locks import MakeLock
from distio.core.ops.parallel import besides_cancellation, cancel_all, wait_for_all
from distio.core.ops.regions import CancelRegion
from distio.core.ops.unary import UnaryOp
from distio.core.ops.values import FlatMap
from distio.core.where import item_at
from distio.errors import MatchError
from distio.protocol import requests
from distio.protocol.requests import Lock
from distio.result import Errors, Ok, Panic, Result
from distio.result import zip as zip_results

__all__ = ["InScope", "StartIn", "scope", "zip_par"]

Program = IO[Any, Any, Any]


def scope(program: Callable[[int], Program]) -> Program:
    """Run what a function makes of a new scope's key, until all that it started has ended."""
    return FlatMap(MakeLock(), partial(_scope, program))


def _scope(program: Callable[[int], Program], made: Lock) -> Program:
    assert isinstance(made.key, int)
    return InScope(require_io(program(made.key), "scope"), made.key)


@final
class StartIn(IO[Any, Any, Any]):
    """Start a fiber for each IO in a scope; the value is the list of handles."""

    __slots__ = _names = ("ios", "key")

    def __init__(self, ios: tuple[Any, ...], key: int) -> None:
        self.ios = ios
        self.key = key

    def _evaluate(self, fiber: Fiber) -> Next:
        region = _find(fiber, self.key)
        assert region.children is not None
        if len(region.children) >= region.look_at:
            fiber.stack.append(_Look(region, self))
            return WaitSome(tuple(region.children), 0)
        fiber.stack.append(_Started(region))
        children = [_Item(InScope(io, self.key), self.key, fiber.handle) for io in self.ios]
        fiber.request = requests.Spawn(children, are_owned=True, scope=self.key)
        return None


def _find(fiber: Fiber, key: int) -> Region:
    for region in reversed(fiber.regions or ()):
        if region.key == key and region.children is not None:
            return region
    raise MatchError(
        "this scope isn't open in this fiber: start fibers in the program that scope was given, "
        "or in a fiber that was started in it"
    )


@final
class _Item(UnaryOp):
    """A child that tells its parent if it fails: that cuts the parent's part of the scope."""

    __slots__ = ("key", "parent")
    _names = ("io", "key", "parent")
    _only_tells = True

    def __init__(self, io: Any, key: int, parent: Any) -> None:
        self.io = io
        self.key = key
        self.parent = parent

    def _failed(self, fiber: Fiber) -> Next:
        failure, fiber.failure = fiber.failure, None
        assert failure is not None
        # from here to its end: a cancellation would hide a failure without errors, which was told
        fiber.shield += 1
        fiber.stack.append(RestoreResult(failure))
        return _TellParent(self.parent, self.key, failure)

    def __repr__(self) -> str:
        return repr(self.io)  # which is what a user has written


@final
class _TellParent(IO[Any, Any, Any]):
    """Cut the parent's region, unless the fiber has failed for its cancellation alone."""

    __slots__ = _names = ("parent", "key", "result")

    def __init__(self, parent: Handle[Any, Any, Any], key: int, result: Result[Any, Any]) -> None:
        self.parent = parent
        self.key = key
        self.result = result

    def _evaluate(self, fiber: Fiber) -> Next:
        assert fiber.handle is not None
        fiber.value = None
        if besides_cancellation(fiber.handle, self.result) is None:
            return None
        return CancelRegion(self.parent, self.key)


# -- zip_par ----------------------------------------------------------------------------------


def zip_par(ios: tuple[Any, ...], called: str, fail_fast: bool) -> Program:
    """Start all, wait for all; the value is the list of theirs."""
    return _ZipPar(ios, called) if fail_fast else wait_for_all(ios, called)


@final
class _ZipPar(IO[Any, Any, Any]):
    """Start all, wait for all; the first failure cancels the others.

    It is a scope whose children start no others in it. So they need no region of their own, and
    the key need be known to this fiber alone.
    """

    __slots__ = _names = ("ios", "called")

    def __init__(self, ios: tuple[Any, ...], called: str) -> None:
        self.ios = ios
        self.called = called
        """The function of the user's program."""

    def _evaluate(self, fiber: Fiber) -> Next:
        fiber.limits += 1
        key = fiber.limits
        region = fiber.enter(key)
        region.children = []
        fiber.stack += [_Scope(region, self.called), _Started(region)]
        children = [_Item(io, key, fiber.handle) for io in self.ios]
        fiber.request = requests.Spawn(children, are_owned=True, scope=key)
        return None


@final
class _Started(Frame):
    """Children were started: they belong to the scope before anything else happens."""

    __slots__ = ("region",)

    def __init__(self, region: Region) -> None:
        self.region = region

    def _succeeded(self, fiber: Fiber) -> Next:
        assert self.region.children is not None
        self.region.children += fiber.value
        return None


@final
class _Look(Frame):
    """Forget the children that have ended well."""

    __slots__ = ("region", "then")

    def __init__(self, region: Region, then: StartIn) -> None:
        self.region = region
        self.then = then

    def _succeeded(self, fiber: Fiber) -> Next:
        children, results = self.region.children, fiber.value
        assert children is not None
        left = [each for each, result in zip(children, results) if not isinstance(result, Ok)]
        self.region.children = left
        self.region.look_at = 2 * len(left) + FEW
        return self.then


@final
class InScope(UnaryOp):
    """Run an IO in which fibers can be started, and wait for them."""

    __slots__ = ("key",)
    _names = ("io", "key")

    def __init__(self, io: Any, key: int) -> None:
        super().__init__(io)
        self.key = key

    def _evaluate(self, fiber: Fiber) -> Next:
        region = fiber.enter(self.key)
        region.children = []
        fiber.stack.append(_Scope(region, None))
        return self.io  # type: ignore[no-any-return]  # its type shows when it is evaluated


@final
class _Scope(Frame):
    """The end of the program in a scope, and then the end of its children."""

    __slots__ = ("called", "region", "result")

    def __init__(
        self, region: Region, called: str | None, result: Result[Any, Any] | None = None
    ) -> None:
        self.region = region
        self.called = called
        """The name of the operation that starts the children, if the value is their list of
        values."""
        self.result = result
        """The Result of the program, while the scope waits for the children."""

    def _succeeded(self, fiber: Fiber) -> Next:
        children = self.region.children
        if self.result is None and children:
            fiber.stack.append(_Scope(self.region, self.called, Ok(fiber.value)))
            return Wait(tuple(children))
        fiber.leave(self.region)
        if self.result is not None:
            assert children is not None
            merged = _merged(self.result, tuple(children), self.called, fiber.value)
            is_list = self.called is not None and merged is self.result
            fiber.answer(zip_results(fiber.value) if is_list else merged)
        return None

    def _failed(self, fiber: Fiber) -> Next:
        fiber.leave(self.region)
        failure, fiber.failure = fiber.failure, None
        fiber.stack.append(RestoreResult.shielded(fiber, Ok(None) if failure is None else failure))
        children = tuple(self.region.children or ())
        return FlatMap(cancel_all(children), partial(_failures, children, self.called))


def _failures(
    children: tuple[Handle[Any, Any, Any], ...],
    called: str | None,
    results: list[Result[Any, Any]],
) -> Program:
    return from_result(_merged(Ok(None), children, called, results))


def _merged(
    result: Result[Any, Any],
    children: tuple[Handle[Any, Any, Any], ...],
    called: str | None,
    results: list[Result[Any, Any]],
) -> Result[Any, Any]:
    """The program's Result, and with it the failures of its children."""
    failures = [
        failure if called is None else item_at(failure, called, index)
        for index, (child, of_child) in enumerate(zip(children, results))
        if type(of_child) is not Ok
        and (failure := besides_cancellation(child, of_child)) is not None
    ]
    if not failures:
        return result
    merged = zip_results([*([] if isinstance(result, Ok) else [result]), *failures])
    assert isinstance(merged, Errors | Panic)
    return merged
