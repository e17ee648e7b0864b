"""Programs as data: a strategy that draws them, the IO of each, and the Result it must have.

A program is a tree of small dataclasses; its repr can be pasted into a test. Two functions say
what each of them means: `to_io` in the language of distio, `expected` in plain Python, where a
fiber is started by computing its outcome at once. That is allowed because no schedule changes an
outcome: fibers share nothing, and wait only for those that were there before, or that they made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from typing import Any, Literal, NoReturn

from hypothesis import strategies as st

from distio import (
    IO,
    Barrier,
    CountDownLatch,
    Deferred,
    DomainErrors,
    Errors,
    Ok,
    Panic,
    PubSub,
    Queue,
    Resource,
    Result,
    TracedException,
    Var,
    child,
    io,
    resource,
    supervise,
)
from distio.core import ops
from distio.core.raising import failure_of

Io = IO[Any, Any, Any]
Outcome = Result[Any, Any]
Failure = Errors[Any, Any] | Panic[Any, Any]
Strategy = st.SearchStrategy[Any]
Which = tuple[int, ...] | Literal["all", "reversed"]


# -- programs ---------------------------------------------------------------------------------


class Program:
    """A program as data."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Have Hypothesis show the data, not how it was drawn, which can be very long."""
        printer.text(repr(self))


@dataclass(frozen=True)
class Pure(Program):
    value: Any


@dataclass(frozen=True)
class Bound(Program):
    """The value that was bound last: by an arrow, to its argument."""


@dataclass(frozen=True)
class Read(Program):
    """The context."""


@dataclass(frozen=True)
class Yield(Program):
    """Give way to other fibers."""


@dataclass(frozen=True)
class Sleep(Program):
    seconds: float


@dataclass(frozen=True)
class Defer(Program):
    f: Function | Raises
    value: Any


@dataclass(frozen=True)
class Fail(Program):
    """Errors; even none of them is a failure."""

    errors: tuple[Any, ...]


@dataclass(frozen=True)
class Crash(Program):
    """A Panic: exceptions by name and argument."""

    exceptions: tuple[tuple[str, int], ...]
    errors: tuple[Any, ...]


@dataclass(frozen=True)
class Async(Program):
    """A callback that is called in one of many ways."""

    how: str
    value: Any


@dataclass(frozen=True)
class Fibers(Program):
    """Do something with fibers in sight: "hold" them as a value, "wait", or "join" them.

    To join is to wait, then to go on with their values, or to fail as the first that failed.
    """

    how: str
    which: Which


@dataclass(frozen=True)
class Attempt(Program):
    program: Program


@dataclass(frozen=True)
class Apply(Program):
    """A method that takes a function on values: "map", "map_error", …"""

    how: str
    program: Program
    f: Function | Raises


@dataclass(frozen=True)
class On(Program):
    """A method that takes a function to a program: "flat_map", "catch", "finally_", …"""

    how: str
    program: Program
    arrow: Arrow


@dataclass(frozen=True)
class DeferIO(Program):
    arrow: Arrow
    value: Any


@dataclass(frozen=True)
class Traverse(Program):
    items: tuple[Any, ...]
    arrow: Arrow


@dataclass(frozen=True)
class Several(Program):
    """Several in turn, or at once: "zip", "sequence", "then", "then_keep", "zip_par"."""

    how: str
    programs: tuple[Program, ...]


@dataclass(frozen=True)
class AtMost(Program):
    """A traversal of so many items at a time: of a "list" or an "iterable", or "zip_par"."""

    how: str
    items: tuple[Any, ...]
    arrow: Arrow
    at_most: int | None


@dataclass(frozen=True)
class Some(Program):
    """Wait for some of the fibers in sight, then for all; both waits must agree."""

    enough: int
    which: Which


@dataclass(frozen=True)
class Start(Program):
    """Start fibers; the body has them in sight, and so have those that it starts."""

    children: tuple[Program, ...]
    body: Program


@dataclass(frozen=True)
class Adopt(Program):
    """Of all fibers, the body has those in sight that are in the value of a program."""

    program: Program
    body: Program


@dataclass(frozen=True)
class Elsewhere(Program):
    """A call that isn't made by a thread of the pool: "blocking" or "coroutine"."""

    how: str
    f: Function | Raises
    value: Any


@dataclass(frozen=True)
class Within(Program):
    """A program run in something: a "lock", the same lock "twice", a "semaphore", a "resource"."""

    how: str
    program: Program


@dataclass(frozen=True)
class Structured(Program):
    """A program in a scope, a race or a time limit that changes nothing in its outcome."""

    how: str
    program: Program


@dataclass(frozen=True)
class Tally(Program):
    """Fibers that add to one variable, each its number, in "update"s or under its "lock"."""

    how: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Scope:
    """The fibers that a program sees, the youngest last, and the value that was bound last."""

    fibers: tuple[Any, ...] = ()
    value: Any = None
    is_direct: bool = False
    """Whether the program is written with `await`."""

    def bind(self, *values: Any) -> Scope:
        """Bind the one value, or the tuple of several."""
        return replace(self, value=values[0] if len(values) == 1 else values)

    def start(self, fibers: list[Any]) -> Scope:
        return replace(self, fibers=(*self.fibers, *fibers))

    def adopt(self, value: Any) -> Scope:
        return replace(self, fibers=tuple(_fibers_in(value)))

    def choose(self, which: Which) -> list[Any]:
        """Some fibers, counted from the youngest, round and round: any number is good."""
        if which == "all":
            return [*self.fibers]
        if which == "reversed":
            return [*reversed(self.fibers)]
        return [self.fibers[-1 - age % len(self.fibers)] for age in which if self.fibers]


def _fibers_in(value: Any) -> Iterator[Any]:
    match value:
        case io.Fiber() | Forked():
            yield value
        case list() | tuple():
            for item in value:
                yield from _fibers_in(item)
        case Ok(inner) | Errors(inner) | Panic(_, inner):
            yield from _fibers_in(inner)


# -- functions in programs --------------------------------------------------------------------


class Trouble(Exception):
    """An exception that is no builtin."""


EXCEPTIONS: dict[str, type[Exception]] = {
    each.__name__: each for each in (ValueError, KeyError, StopIteration, Trouble)
}


@dataclass(frozen=True)
class Function:
    """A function of one argument, prepared for any; but "trouble" is for exceptions."""

    name: str
    n: int

    def python(self) -> Callable[..., Any]:
        return FUNCTIONS[self.name](self.n)


@dataclass(frozen=True)
class Raises:
    """A function that raises, of any number of arguments."""

    exception: str
    n: int

    def python(self) -> Callable[..., Any]:
        return partial(_raise, self.exception, self.n)


Arrow = Program | Raises
"""A function to a program, which finds bound what the function was called with."""


def _raise(exception: str, n: int, *_: Any) -> NoReturn:
    raise EXCEPTIONS[exception](n)


def _trouble(n: int, traced: TracedException) -> Exception:
    return Trouble(n, type(traced.exception).__name__)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple | str) else 0


def _pair(n: int, value: Any) -> Any:
    return n, value


# functions of all shapes that travel: of a module, with arguments, and as closures
FUNCTIONS: dict[str, Callable[[int], Callable[[Any], Any]]] = {
    "size": lambda n: _size,
    "pair": lambda n: partial(_pair, n),
    "add": lambda n: lambda x: x + n if isinstance(x, int) else [x, n],
    "divide": lambda n: lambda x: n // x if isinstance(x, int) else _pair(n, x),
    "trouble": lambda n: partial(_trouble, n),
}


def _call_back(context: Any, callback: Callable[[Any], None], how: str, *, value: Any) -> None:
    if how == "errors":
        callback(Errors([value]))
    elif how == "panic":
        callback(Panic([_traced(Trouble(value))], [context]))
    elif how == "timer":
        threading.Timer(0.001, callback, [Ok((context, value))]).start()
    elif how != "raise":
        callback(Ok((context, value)))
    if how == "twice":
        callback(Errors(["too late"]))
    if how in ("raise", "ok, raise"):
        raise Trouble(value)


def _traced(exception: Exception) -> TracedException:
    return TracedException(exception, "")


# -- in the language of distio ----------------------------------------------------------------


def to_io(program: Program, scope: Scope = Scope()) -> Io:
    """The program in the public language of distio."""
    return directly(program, scope) if scope.is_direct else by_methods(program, scope)


DIRECT = Scope(is_direct=True)


@io.do
async def directly(program: Program, scope: Scope) -> Any:
    """The program as a function that awaits its parts, where there is a way to say it so."""
    match program:
        case Bound():
            return scope.value
        case Read():
            return await io.read
        case Within(how, inner):
            made = await RESOURCES[how]
            async with made:
                return await directly(inner, scope)
        case Structured(how, inner) if how in DIRECT_STRUCTURES:
            return await DIRECT_STRUCTURES[how](directly(inner, scope))
        case Attempt(inner):
            try:
                return Ok(await directly(inner, scope))
            except Exception as exception:  # noqa: BLE001 (all of them are meant)
                return failure_of(exception, None)
        case Apply("map", inner, function):
            return await io.defer(function.python(), await directly(inner, scope))
        case On("flat_map", inner, arrow):
            # called there, for a StopIteration that a function raises itself is an error in Python
            return await io.defer_io(_to_arrow(arrow, scope), await directly(inner, scope))
        case On("catch", inner, Program() as arrow):
            try:
                return await directly(inner, scope)
            except DomainErrors as failure:
                errors = failure.errors
            return await directly(arrow, scope.bind(errors))
        case On("finally_", inner, Pure() | Yield() | Sleep() as after):
            try:
                return await directly(inner, scope)
            finally:
                await directly(after, scope)
        case Several("zip", inners):
            return [await directly(each, scope) for each in inners]
        case Traverse(items, Program() as arrow):
            found = []
            for item in items:
                found.append(await directly(arrow, scope.bind(item)))
            return found
        case Start(children, body):
            fibers = await io.parallel([directly(each, scope) for each in children])
            return await directly(body, scope.start(fibers))
        case Adopt(inner, body):
            return await directly(body, scope.adopt(await directly(inner, scope)))
    return await by_methods(program, scope)


def by_methods(program: Program, scope: Scope) -> Io:
    """The program as operations and their methods."""
    match program:
        case Pure(value):
            return io.pure(value)
        case Bound():
            return io.pure(scope.value)
        case Read():
            return io.read
        case Yield():
            return io.yield_
        case Sleep(seconds):
            return io.sleep(seconds)
        case Defer(f, value):
            return io.defer(f.python(), value)
        case Elsewhere("blocking", f, value):
            return io.blocking(f.python(), value)
        case Elsewhere(_, f, value):
            return io.from_coroutine(_awaited, f.python(), value)
        case Within(how, inner):
            return RESOURCES[how].flat_map(lambda made: made.with_(to_io(inner, scope)))
        case Structured(how, inner):
            return STRUCTURES[how](to_io(inner, scope))
        case Tally(how, numbers):
            return Var.create(0).flat_map(partial(_tally, how, numbers))
        case Fail(errors):
            return io.error(errors[0]) if len(errors) == 1 else io.errors(*errors)
        case Crash(exceptions, errors):
            return io.panic(*_made(exceptions), errors=errors)
        case Async(how, value):
            return io.async_(_call_back, how, value=value)
        case Fibers("hold", which):
            return io.pure(scope.choose(which))
        case Fibers("wait", which):
            return io.wait(*scope.choose(which))
        case Fibers("join", which):
            waited: Io = io.wait(scope.choose(which))
            return waited.flat_map(lambda results: io.traverse(results, io.from_result))
        case Attempt(inner):
            return to_io(inner, scope).attempt()
        case Apply(how, inner, function):
            return getattr(to_io(inner, scope), how)(function.python())  # type: ignore[no-any-return]
        case On(how, inner, arrow):
            return getattr(to_io(inner, scope), how)(_to_arrow(arrow, scope))  # type: ignore[no-any-return]
        case DeferIO(arrow, value):
            return io.defer_io(_to_arrow(arrow, scope), value)
        case Traverse(items, arrow):
            return io.traverse(items, _to_arrow(arrow, scope))
        case AtMost("zip_par", items, arrow, at_most):
            to_program = _to_arrow(arrow, scope)
            return io.zip_par(
                [io.defer_io(to_program, item) for item in items], at_most=at_most, fail_fast=False
            )
        case AtMost(how, items, arrow, at_most):
            source = items if how == "list" else OnceMore(items)
            return io.traverse_par(
                source, _to_arrow(arrow, scope), at_most=at_most, fail_fast=False
            )
        case Some(enough, which):
            fibers = scope.choose(which)
            enough = min(enough, len(fibers))
            some: Io = ops.WaitSome(tuple(fibers), enough)
            return some.flat_map(partial(_wait_for_the_rest, fibers, enough))
        case Several("then" | "then_keep" as how, (first, *others)):
            return getattr(to_io(first, scope), how)(*[to_io(each, scope) for each in others])  # type: ignore[no-any-return]
        case Several("zip_par", inners):
            return io.zip_par([to_io(each, scope) for each in inners], fail_fast=False)
        case Several(how, inners):
            return getattr(io, how)([to_io(each, scope) for each in inners])  # type: ignore[no-any-return]
        case Start(children, body):
            started: Io = io.parallel([to_io(each, scope) for each in children])
            return started.flat_map(lambda fibers: to_io(body, scope.start(fibers)))
        case Adopt(inner, body):
            return to_io(inner, scope).flat_map(lambda value: to_io(body, scope.adopt(value)))
    raise TypeError(program)


async def _awaited(f: Callable[..., Any], value: Any) -> Any:
    return f(value)


RESOURCES: dict[str, IO[Any, Any, Resource[Any, Any, Any]]] = {
    "lock": resource.reentrant_lock,
    "twice": resource.reentrant_lock.map(lambda lock: lock.then(lock)),
    "semaphore": resource.semaphore(2),
    "resource": io.pure(resource.from_open_close(lambda: "open", lambda it, status: None)),
}

FOREVER: Io = io.sleep(1_000_000)

STRUCTURES: dict[str, Callable[[Io], Io]] = {
    "scope": lambda main: io.scope(lambda s: main),
    "child": lambda main: io.scope(lambda s: s.start(main).flat_map(_join)),
    "child among others": lambda main: io.scope(
        lambda s: s.start(io.yield_).then(s.start(main).flat_map(_join))
    ),
    "race": lambda main: io.race(FOREVER, main, FOREVER),
    "time limit": lambda main: main.timeout(1_000_000),
    "after a time limit": lambda main: FOREVER.timeout(0.001, main),
    "after a cancellation": lambda main: io.parallel(FOREVER, FOREVER).flat_map(
        lambda fibers: io.zip_par([fiber.cancel() for fiber in fibers]).then(main)
    ),
    "cancelled in vain": lambda main: io.parallel(main).flat_map(
        lambda fibers: io.wait(fibers).then(fibers[0].cancel()).flat_map(io.from_result)
    ),
    "uncancelable": io.uncancelable,
    "on_cancel": lambda main: main.on_cancel(io.error("never")),
    "through a queue of none": lambda main: Queue.create(0).flat_map(partial(_through, main)),
    "through a queue": lambda main: Queue.create(1).flat_map(partial(_through, main)),
    "through a deferred value": lambda main: Deferred.create().flat_map(
        lambda told: io.zip_par(main.attempt().flat_map(told.set), told.get()).flat_map(_second)
    ),
    "published": lambda main: (
        PubSub.create(1)
        .flat_map(
            lambda news: news.subscribe().use(
                lambda feed: io.zip_par(main.attempt().flat_map(news.publish), feed.take())
            )
        )
        .flat_map(_second)
    ),
    "after a barrier": lambda main: Barrier.create(2).flat_map(
        lambda met: io.zip_par(met.wait().then(main), met.wait()).map(_first)
    ),
    "after a latch": lambda main: CountDownLatch.create(2).flat_map(
        lambda latch: io.zip_par(latch.wait().then(main), latch.count_down(2)).map(_first)
    ),
    "supervised": lambda main: supervise(child(main, restart="temporary")).flat_map(_only),
}


def _through(main: Io, queue: Queue[Any]) -> Io:
    take = queue.take().then_keep(queue.close())
    return io.zip_par(main.attempt().flat_map(queue.put), take).flat_map(_second)


def _first(values: tuple[Any, ...]) -> Any:
    return values[0]


def _second(values: tuple[Any, ...]) -> Io:
    return io.from_result(values[1])


def _only(results: list[Any]) -> Io:
    return io.from_result(results[0])


@io.do
async def _gives(queue: Queue[Any], main: Io) -> None:
    await queue.put(await main.attempt())
    await queue.close()


@io.do
async def _takes(queue: Queue[Any]) -> Any:
    async for result in queue:
        last = result
    return await io.from_result(last)


@io.do
async def _through_directly(capacity: int, main: Io) -> Any:
    queue = await Queue.create(capacity)
    _, taken = await io.zip_par(_gives(queue, main), _takes(queue))
    return taken


@io.do
async def _publishes(news: PubSub[Any], main: Io) -> None:
    await news.publish(await main.attempt())


@io.do
async def _published_directly(main: Io) -> Any:
    news = await PubSub.create(0)
    async with news.subscribe() as feed:
        (fiber,) = await io.parallel(_publishes(news, main))
        result = await feed.take()
    await io.wait(fiber)
    return await io.from_result(result)


@io.do
async def _told_directly(main: Io) -> Any:
    told = await Deferred.create()
    await io.parallel(main.attempt().flat_map(told.set))
    return await io.from_result(await told.get())


@io.do
async def _after_directly(meeting: Io, main: Io) -> Any:
    met = await meeting

    @io.do
    async def goes_on() -> Any:
        await met.wait()
        return await main

    comes = met.count_down(2) if isinstance(met, CountDownLatch) else met.wait()
    return (await io.zip_par(goes_on(), comes))[0]


@io.do
async def _supervised_directly(main: Io) -> Any:
    (result,) = await supervise(child(main, restart="temporary"))
    return await io.from_result(result)


DIRECT_STRUCTURES: dict[str, Callable[[Io], Io]] = {
    "through a queue of none": partial(_through_directly, 0),
    "through a queue": partial(_through_directly, 1),
    "through a deferred value": _told_directly,
    "published": _published_directly,
    "after a barrier": partial(_after_directly, Barrier.create(2)),
    "after a latch": partial(_after_directly, CountDownLatch.create(2)),
    "supervised": _supervised_directly,
}


def _join(fiber: Any) -> Io:
    return io.wait(fiber).flat_map(lambda results: io.from_result(results[0]))


class OnceMore:
    """An iterable that is no list, and travels."""

    def __init__(self, items: tuple[Any, ...]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def _wait_for_the_rest(fibers: list[Any], enough: int, some: list[Any]) -> Io:
    """Check that enough fibers have ended, and that the second wait agrees with the first."""
    if len(some) - some.count(None) < enough:
        return io.pure("too few have ended")
    return io.wait(fibers).map(
        lambda results: [
            comparable(first) in (None, comparable(last)) and comparable(last)
            for first, last in zip(some, results)
        ]
    )


def _tally(how: str, numbers: tuple[int, ...], var: Var[int]) -> Io:
    return io.zip_par([_add(how, var, n) for n in numbers]).then(var.get())


def _add(how: str, var: Var[int], n: int) -> Io:
    if how == "update":
        return var.update(lambda total: (total + n, total))
    return var.lock().with_(var.get().flat_map(lambda total: io.yield_.then(var.set(total + n))))


def _to_arrow(arrow: Arrow, scope: Scope) -> Callable[..., Io]:
    return arrow.python() if isinstance(arrow, Raises) else partial(_follow, arrow, scope)


def _follow(program: Program, scope: Scope, *values: Any) -> Io:
    return to_io(program, scope.bind(*values))


def _made(exceptions: tuple[tuple[str, int], ...]) -> list[Exception]:
    return [EXCEPTIONS[name](n) for name, n in exceptions]


# -- in plain Python --------------------------------------------------------------------------


@dataclass(frozen=True)
class Forked:
    """The handle of a fiber that has its outcome from the start."""

    result: Outcome


class Failed(Exception):
    """Raised for a failure that is more than one exception."""

    def __init__(self, failure: Any) -> None:
        super().__init__(failure)
        self.failure = failure


def expected(program: Program, context: Any) -> Outcome:
    """The Result that the program must have in this context."""
    return _outcome(_value, program, Scope(), context)


def _outcome(f: Callable[..., Any], *args: Any) -> Outcome:
    """The outcome of a call."""
    try:
        return Ok(f(*args))
    except Failed as failed:
        return failed.failure  # type: ignore[no-any-return]
    except Exception as raised:  # noqa: BLE001 (an exception of user code is a panic)
        return Panic([_traced(raised)], [])


def _get(result: Outcome) -> Any:
    if isinstance(result, Ok):
        return result.success
    raise Failed(result)


def _value(program: Program, scope: Scope, context: Any) -> Any:
    """The value of a program; its failure is raised."""
    match program:
        case Pure(value):
            return value
        case Bound():
            return scope.value
        case Read():
            return context
        case Yield() | Sleep():
            return None
        case Defer(f, value):
            return f.python()(value)
        case Elsewhere("coroutine", Raises("StopIteration"), _):
            raise RuntimeError("coroutine raised StopIteration")  # Python's own rule
        case Elsewhere(_, f, value):
            return f.python()(value)
        case Within(_, inner) | Structured(_, inner):
            return _value(inner, scope, context)
        case Tally(_, numbers):
            return sum(numbers)
        case Fail(errors):
            raise Failed(Errors([*errors]))
        case Crash(exceptions, errors):
            raise Failed(Panic([_traced(each) for each in _made(exceptions)], [*errors]))
        case Async("errors", value):
            raise Failed(Errors([value]))
        case Async("panic", value):
            raise Failed(Panic([_traced(Trouble(value))], [context]))
        case Async("raise", value):
            raise Trouble(value)
        case Async(_, value):
            return context, value
        case Fibers("hold", which):
            return scope.choose(which)
        case Fibers("wait", which):
            return [fiber.result for fiber in scope.choose(which)]
        case Fibers("join", which):
            return [_get(fiber.result) for fiber in scope.choose(which)]
        case Attempt(inner):
            return _outcome(_value, inner, scope, context)
        case Apply("map", inner, function):
            return function.python()(_value(inner, scope, context))
        case Apply("contra_map_read", inner, function):
            return _value(inner, scope, function.python()(context))
        case Apply(how, inner, function):
            return _mapped(how, _outcome(_value, inner, scope, context), function.python())
        case On("flat_map", inner, arrow):
            return _called(arrow, scope, context, _value(inner, scope, context))
        case On(how, inner, arrow):
            result = _outcome(_value, inner, scope, context)
            return _handled(how, result, arrow, scope, context)
        case DeferIO(arrow, value):
            return _called(arrow, scope, context, value)
        case Traverse(items, arrow):
            return [_called(arrow, scope, context, item) for item in items]
        case AtMost(_, items, arrow, _):
            return _get(_merged([_outcome(_called, arrow, scope, context, item) for item in items]))
        case Some(_, which):
            return [comparable(fiber.result) for fiber in scope.choose(which)]
        case Several("zip_par", inners):
            return _get(_merged([_outcome(_value, each, scope, context) for each in inners]))
        case Several(how, inners):
            return _chosen(how, [_value(each, scope, context) for each in inners])
        case Start(children, body):
            forked = [Forked(_outcome(_value, each, scope, context)) for each in children]
            return _value(body, scope.start(forked), context)
        case Adopt(inner, body):
            return _value(body, scope.adopt(_value(inner, scope, context)), context)
    raise TypeError(program)


def _called(arrow: Arrow, scope: Scope, context: Any, *values: Any) -> Any:
    if isinstance(arrow, Raises):
        return arrow.python()(*values)
    return _value(arrow, scope.bind(*values), context)


def _chosen(how: str, values: list[Any]) -> Any:
    if how == "zip":
        return values
    return values[0] if how == "then_keep" else [None, *values][-1]


def _mapped(how: str, result: Any, f: Callable[[Any], Any]) -> Any:
    """map_error and map_panic: they touch failures only."""
    try:
        match result:
            case Errors(errors) if how == "map_error":
                result = Errors([f(error) for error in errors])
            case Panic(exceptions, errors) if how == "map_error":
                result = Panic(exceptions, [f(error) for error in errors])
            case Panic(exceptions, errors) if how == "map_panic":
                result = Panic([_traced(f(traced)) for traced in exceptions], errors)
    except Exception as raised:  # noqa: BLE001
        raise _added(result, raised) from None
    return _get(result)


def _handled(how: str, result: Any, arrow: Arrow, scope: Scope, context: Any) -> Any:
    """The value that a handler makes of a Result; it may raise before it has a program to run."""
    if how == "finally_":
        after = _outcome(_called, arrow, scope, context, result)
        return _get(result if after.is_ok() else _merged([after, result]))
    arguments = _handler_arguments(how, result)
    if arguments is None:
        return _get(result)
    if isinstance(arrow, Raises):
        raise _added(result, EXCEPTIONS[arrow.exception](arrow.n))
    return _value(arrow, scope.bind(*arguments), context)


def _handler_arguments(how: str, result: Any) -> tuple[Any, ...] | None:
    match how, result:
        case "catch", Errors(errors):
            return (errors,)
        case "recover", Panic(exceptions, errors):
            return exceptions, errors
        case "on_failure", Errors() | Panic():
            return (result,)
    return None


def _added(failure: Failure, raised: Exception) -> Failed:
    """A failure, and the exception of the function that was called because of it."""
    exceptions = failure.exceptions if isinstance(failure, Panic) else []
    return Failed(Panic([*exceptions, _traced(raised)], failure.errors))


def _merged(results: list[Any]) -> Outcome:
    """All values, or all failures in one."""
    failures = [result for result in results if not isinstance(result, Ok)]
    panics = [failure for failure in failures if isinstance(failure, Panic)]
    errors = [error for failure in failures for error in failure.errors]
    if panics:
        return Panic([traced for panic in panics for traced in panic.exceptions], errors)
    return Errors(errors) if failures else Ok([result.success for result in results])


def comparable(value: Any) -> Any:
    """A value without tracebacks and identities, also in the values within it."""
    match value:
        case Ok(success):
            return "Ok", comparable(success)
        case Errors(errors):
            return "Errors", comparable(errors)
        case Panic(exceptions, errors):
            return "Panic", comparable(exceptions), comparable(errors)
        case TracedException(exception):
            return type(exception).__name__, comparable(exception.args)
        case io.Fiber() | Forked():
            return "fiber"
        case list() | tuple():
            return type(value)(map(comparable, value))
    return value


# -- the strategy -----------------------------------------------------------------------------


@st.composite
def _either(draw: st.DrawFn, *strategies: Strategy) -> Any:
    """One of the strategies, each as likely; `one_of` would count the alternatives inside them."""
    return draw(strategies[draw(st.integers(0, len(strategies) - 1))])


def _tuples(items: Strategy, min_size: int = 0, max_size: int = 3) -> Strategy:
    return st.lists(items, min_size=min_size, max_size=max_size).map(tuple)


_numbers = st.integers(-3, 9)
_names = st.sampled_from([*EXCEPTIONS])
_values = st.one_of(
    _numbers, st.sampled_from(["", "ab"]), _tuples(_numbers, 0, 2), st.lists(_numbers, max_size=2)
)
_raises = st.builds(Raises, _names, _numbers)
_on_any = st.builds(Function, st.sampled_from(["pair", "add", "size", "divide"]), _numbers)
_on_panics = st.builds(Function, st.just("trouble"), _numbers)
_functions = _either(_on_any, _on_any, _raises)
_panic_functions = _either(_on_panics, _on_panics, _raises)
_failures = _either(
    st.builds(Fail, _tuples(_values)),
    st.builds(Crash, _tuples(st.tuples(_names, _numbers), 0, 2), _tuples(_values)),
)
_which = _either(st.sampled_from(["all", "reversed"]), _tuples(st.integers(0, 4)))
_fibers = _either(
    *[st.builds(Fibers, st.just(how), _which) for how in ("wait", "join", "hold")],
    st.builds(Some, st.integers(0, 3), _which),
)
_wait_for_all = Fibers("wait", "all")

_AT_ONCE = ["ok", "errors", "panic", "twice", "raise", "ok, raise"]


def _leaves(threads: bool) -> Strategy:
    return _either(
        st.one_of(st.builds(Pure, _values), st.just(Bound()), st.just(Read())),
        st.one_of(st.just(Yield()), st.builds(Sleep, st.sampled_from([0, 0.0005, 0.001, 0.002]))),
        st.builds(Defer, _functions, _values),
        st.builds(Elsewhere, st.sampled_from(["blocking", "coroutine"]), _functions, _values),
        st.builds(Tally, st.sampled_from(["update", "lock"]), _tuples(_numbers)),
        _failures,
        st.builds(Async, st.sampled_from([*_AT_ONCE, "timer"] if threads else _AT_ONCE), _values),
        _fibers,
    )


def _on_values(inner: Strategy, arrows: Strategy) -> Strategy:
    return st.one_of(
        st.builds(Apply, st.sampled_from(["map", "contra_map_read"]), inner, _functions),
        st.builds(On, st.just("flat_map"), inner, arrows),
        st.builds(DeferIO, arrows, _values),
        st.builds(Traverse, _tuples(_values), arrows),
        st.builds(Several, st.sampled_from(["zip", "sequence"]), _tuples(inner)),
        st.builds(Several, st.sampled_from(["then", "then_keep"]), _tuples(inner, 1)),
    )


def _on_failures(inner: Strategy, arrows: Strategy) -> Strategy:
    failing = _either(_failures, _failures, inner)
    return st.one_of(
        st.builds(Attempt, inner),
        st.builds(Apply, st.just("map_error"), failing, _functions),
        st.builds(Apply, st.just("map_panic"), failing, _panic_functions),
        *[
            st.builds(On, st.just(how), failing, arrows)
            for how in ("catch", "recover", "on_failure", "finally_")
        ],
    )


def _limited(inner: Strategy) -> tuple[Strategy, ...]:
    """The items that are traversed, the arrows, and the number of items at a time."""
    items = _tuples(_values, 0, 6)
    return items, _either(inner, inner, _raises), st.sampled_from([None, 1, 2, 3, 9])


def _on_fibers(inner: Strategy) -> Strategy:
    """Programs that start fibers, and mostly do something with them."""
    adopted = st.builds(Adopt, _either(st.just(_wait_for_all), inner), _either(_fibers, inner))
    bodies = _either(_fibers, inner, adopted)
    return _either(
        st.builds(Start, _tuples(inner, 0, 4), bodies),
        st.builds(Start, _tuples(inner, 1), st.just(_wait_for_all)),
        st.builds(Several, st.just("zip_par"), _tuples(inner)),
        st.builds(AtMost, st.sampled_from(["list", "iterable", "zip_par"]), *_limited(inner)),
        st.builds(Within, st.sampled_from([*RESOURCES]), inner),
        st.builds(Structured, st.sampled_from([*STRUCTURES]), inner),
        adopted,
    )


@st.composite
def _programs(draw: st.DrawFn, depth: int, threads: bool) -> Any:
    """Programs of some depth: a strategy that names no others, so that its repr stays short."""
    return draw(_programs_of(depth, threads))


@cache
def _programs_of(depth: int, threads: bool) -> Strategy:
    if depth == 0:
        return _leaves(threads)
    inner = _programs(depth - 1, threads)
    arrows = _either(inner, inner, _raises)
    return _either(
        _leaves(threads),
        _on_values(inner, arrows),
        _on_failures(inner, arrows),
        _on_fibers(inner),
    )


def _raised(program: Program, layer: tuple[tuple[Program, ...], Program]) -> Program:
    """Add a level: the program becomes a child, with siblings."""
    siblings, body = layer
    return Start((program, *siblings), body)


def _report(programs: tuple[Program, ...]) -> Program:
    """A program that shows the outcome of each program, and the context."""
    return Several("zip", (*map(Attempt, programs), Read()))


def programs(threads: bool = False) -> st.SearchStrategy[Program]:
    """Programs, small to medium; with `threads`, some callbacks are called by other threads."""
    few = _programs(2, threads)
    reports = _tuples(_programs(3, threads), 1, 8).map(_report)
    bodies = _either(_fibers, st.builds(Adopt, st.just(_wait_for_all), _fibers), few)
    layers = st.tuples(_tuples(few, 0, 1), bodies)
    towers = st.builds(partial(reduce, _raised), st.lists(layers, min_size=1, max_size=4), few)
    return _either(_programs(5, threads), reports, reports, towers)
