"""Programs as users write them, and all that checkers know of each: nothing here runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Never, Protocol, assert_type

from distio import (
    IO,
    Actor,
    Cluster,
    Deferred,
    Queue,
    Resource,
    Result,
    TimedOut,
    Var,
    child,
    io,
    resource,
    schedule,
    supervise,
)
from distio.errors import Closed


class Shop:
    """A context."""

    url: str

    def price(self, name: str, /, *, discount: float = 0.0) -> float:
        return discount


class HasUrl(Protocol):
    """A part of a context."""

    url: str


class HasCount(Protocol):
    """Another part."""

    count: int


class HasBoth(HasUrl, HasCount, Protocol):
    """The whole context."""


class NotFound(Exception):
    """An expected error."""


class Busy(Exception):
    """Another one."""


class Words:
    """The object that an actor holds."""

    def add(self, word: str, times: int = 1) -> int:
        return times


def length(text: str, *, times: int = 1) -> int:
    return len(text) * times


def url_of(shop: Shop) -> str:
    return shop.url


def price_of(shop: Shop, name: str) -> float:
    return shop.price(name)


def fetch(url: str) -> IO[object, NotFound, bytes]:
    return io.pure(b"")


def store(content: bytes) -> IO[Shop, Busy, int]:
    return io.pure(len(content))


async def download(url: str) -> bytes:
    return url.encode()


@io.do
async def stored(url: str, *, tries: int = 1) -> int:
    content = await fetch(url)
    assert_type(content, bytes)
    return await store(content)


@io.safe
def parsed(text: str) -> IO[object, NotFound, int]:
    return io.pure(int(text))


def opened(path: str) -> Resource[object, NotFound, bytes]:
    return resource.pure(path.encode())


def closed(result: Result[NotFound, bytes]) -> IO[Shop, NotFound, bytes]:
    return io.from_result(result)


def or_none(errors: list[NotFound]) -> IO[object, Never, None]:
    return io.pure(None)


def of_more_than_one_service(
    text: IO[HasUrl, NotFound, str], count: IO[HasCount, Busy, int]
) -> None:
    both: IO[HasBoth, Never, HasBoth] = io.read
    assert_type(both.then(text).then(count), IO[HasBoth, NotFound | Busy, int])
    assert_type(both.then(text).flat_map(lambda _: count), IO[HasBoth, NotFound | Busy, int])
    assert_type(io.zip_par(both.then(text), count), IO[HasBoth, NotFound | Busy, tuple[str, int]])


def values(shop: Shop, words: list[str]) -> None:
    assert_type(io.pure(5), IO[Any, Never, int])
    assert_type(io.defer(length, "a"), IO[Any, Never, int])
    assert_type(io.defer(length, "a", times=2), IO[Any, Never, int])
    assert_type(io.defer(lambda: words[0]), IO[Any, Never, str])
    assert_type(io.defer(shop.price, "tea", discount=0.1), IO[Any, Never, float])
    assert_type(io.defer(partial(length, times=2), "a"), IO[Any, Never, int])
    assert_type(io.defer_io(fetch, "url"), IO[object, NotFound, bytes])
    assert_type(io.blocking(length, "a", times=2), IO[Any, Never, int])
    assert_type(io.from_coroutine(download, "url"), IO[Any, Never, bytes])
    assert_type(io.step(length, "a"), IO[Any, Never, int])
    assert_type(io.once(length, "a", times=3), IO[Any, Never, int])
    assert_type(parsed("5"), IO[object, NotFound, int])
    assert_type(stored("url", tries=2), IO[Any, Any, int])


def chains(program: IO[Shop, NotFound, str], fibers: list[io.Fiber[Shop, NotFound, int]]) -> None:
    assert_type(program.map(len), IO[Shop, NotFound, int])
    assert_type(program.map(lambda text: text.encode()), IO[Shop, NotFound, bytes])
    assert_type(program.flat_map(fetch), IO[Shop, NotFound, bytes])
    assert_type(program.flat_map(fetch).flat_map(store), IO[Shop, NotFound | Busy, int])
    assert_type(
        program.flat_map(lambda url: fetch(url).map(lambda content: (url, content))),
        IO[Shop, NotFound, tuple[str, bytes]],
    )
    assert_type(
        io.defer(length, "a").flat_map(lambda n: io.pure(n) if n else io.error(NotFound())),
        IO[Any, NotFound, int],
    )
    assert_type(program.then(fetch("a")), IO[Shop, NotFound, bytes])
    assert_type(program.then(fetch("a"), io.sleep(1), store(b"")), IO[Shop, NotFound | Busy, int])
    assert_type(program.then_keep(io.sleep(1), store(b"")), IO[Shop, NotFound | Busy, str])


def several(a: IO[Shop, NotFound, str], b: IO[Shop, Busy, int], c: IO[Shop, Never, bytes]) -> None:
    assert_type(a.zip(b), IO[Shop, NotFound | Busy, tuple[str, int]])
    assert_type(io.zip(a, b, c), IO[Shop, NotFound | Busy, tuple[str, int, bytes]])
    assert_type(
        io.zip(a, b, c, a, b, c),
        IO[Shop, NotFound | Busy, tuple[str, int, bytes, str, int, bytes]],
    )
    assert_type(io.zip_par(a, b), IO[Shop, NotFound | Busy, tuple[str, int]])
    assert_type(a.zip_par(b, c), IO[Shop, NotFound | Busy, tuple[str, int, bytes]])
    assert_type(
        io.zip_par(a, b, c, a, b, c, at_most=2),
        IO[Shop, NotFound | Busy, tuple[str, int, bytes, str, int, bytes]],
    )
    assert_type(io.zip_par([b, b], fail_fast=True), IO[Shop, Busy, list[int]])
    assert_type(io.race(a, b, c), IO[Shop, NotFound | Busy, str | int | bytes])
    assert_type(io.first_ok(a, b), IO[Shop, NotFound | Busy, str | int])
    assert_type(io.sequence(a, b, c), IO[Shop, NotFound | Busy, bytes])
    assert_type(io.traverse(["a", "b"], fetch), IO[object, NotFound, list[bytes]])
    assert_type(io.traverse_par(range(9), lambda n: io.pure(str(n))), IO[Any, Never, list[str]])


def failures(program: IO[Shop, NotFound, str], ok: Result[NotFound, int]) -> None:
    assert_type(
        io.bracket(program, fetch, lambda _, result: closed(result)),
        IO[Shop, NotFound, bytes],
    )
    assert_type(program.catch(or_none), IO[Shop, Never, str | None])
    assert_type(program.map_error(str), IO[Shop, str, str])
    assert_type(program.recover(lambda _, errors: io.pure(0)), IO[Shop, NotFound, str | int])
    assert_type(program.attempt(), IO[Shop, Never, Result[NotFound, str]])
    assert_type(program.on_failure(lambda _: io.pure(0)), IO[Shop, Never, str | int])
    assert_type(program.timeout(1), IO[Shop, NotFound | TimedOut, str])
    assert_type(program.timeout(1, io.pure(None)), IO[Shop, NotFound, str | None])
    assert_type(program.retry(schedule.recurs(3)), IO[Shop, NotFound, str])
    assert_type(io.error(NotFound()), IO[Any, NotFound, Never])
    assert_type(io.from_result(ok), IO[Any, NotFound, int])


def contexts(program: IO[Shop, NotFound, str], file: Resource[Shop, NotFound, bytes]) -> None:
    assert_type(io.defer_read(price_of, "tea"), IO[Shop, Never, float])
    assert_type(io.defer_read(url_of).flat_map(fetch), IO[Shop, NotFound, bytes])
    assert_type(file.use(lambda content: io.defer(len, content)), IO[Shop, NotFound, int])
    assert_type(file.with_(store(b"")), IO[Shop, NotFound | Busy, int])
    assert_type(file.zip(opened("b")), Resource[Shop, NotFound, tuple[bytes, bytes]])


def shared(
    queue: Queue[int],
    answer: Deferred[str],
    count: Var[int],
    words: Actor[Words],
    program: IO[Shop, NotFound, str],
    cluster: Cluster,
) -> None:
    assert_type(queue.take().map(str), IO[Any, Closed, str])
    assert_type(answer.get().flat_map(fetch), IO[Any, NotFound, bytes])
    assert_type(
        count.update(lambda n: (n + 1, str(n))).map(lambda it: it.returned), IO[Any, Never, str]
    )
    assert_type(words.call(Words.add, "tea", times=2), IO[Any, Never, int])
    assert_type(
        io.parallel([program]).flat_map(io.wait), IO[Shop, Never, list[Result[NotFound, str]]]
    )
    assert_type(supervise([child(program)]), IO[Shop, Any, list[Result[NotFound, str]]])
    assert_type(cluster.submit(program, Shop()).result(), Result[NotFound, str])


def loop(again: IO[Shop, Busy, int]) -> IO[Shop, Busy, int]:
    return io.sleep(1).then(again)


assert_type(io.rec(loop), IO[Shop, Busy, int])
assert_type(io.pure(5).run(None), Result[Never, int])
as_any_program: IO[Shop, NotFound, int] = io.pure(5)
as_function: Callable[[str], IO[Shop, Exception, bytes]] = fetch
