"""Mistakes as users make them: a checker finds each in each line that says so."""

from __future__ import annotations

from functools import partial
from typing import Never

import distio
from distio import (
    IO,
    Actor,
    Cluster,
    Deferred,
    Queue,
    Resource,
    Var,
    io,
)


class Shop:
    url: str


class Garden: ...


class NotFound(Exception): ...


class Busy(Exception): ...


class Words:
    def add(self, word: str, times: int = 1) -> int:
        return times


def length(text: str, *, times: int = 1) -> int:
    return len(text) * times


def url_of(shop: Shop) -> str:
    return shop.url


def fetch(url: str) -> IO[object, NotFound, bytes]:
    return io.pure(b"")


def fetch_from(shop: Shop, path: str) -> IO[object, NotFound, bytes]:
    return fetch(shop.url + path)


def store(content: bytes) -> IO[Shop, Busy, int]:
    return io.pure(1)


def water(content: bytes) -> IO[Garden, Never, int]:
    return io.pure(1)


def or_none(errors: list[Busy]) -> IO[object, Never, None]:
    return io.pure(None)


def said(error: Busy) -> str:
    return ""


async def download(url: str) -> bytes:
    return b""


@io.do
async def stored(url: str, *, tries: int = 1) -> int:
    return 1


@io.safe
def parsed(text: str) -> IO[object, NotFound, int]:
    return io.pure(int(text))


def takes_int(n: int) -> None: ...
def takes_text(text: str) -> None: ...


def calls(words: list[str]) -> None:
    io.defer(length, 5)  # wrong
    io.defer(length)  # wrong
    io.defer(length, "a", time=2)  # wrong
    io.defer(length("a"))  # wrong
    io.defer(partial(length, times=2), 5)  # wrong, unseen by mypy
    io.defer_io(fetch, 5)  # wrong
    io.defer_io(length, "a")  # wrong
    io.blocking(length, 5)  # wrong
    io.blocking(length, "a", times="2")  # wrong
    io.from_coroutine(download, 5)  # wrong
    io.step(length)  # wrong
    io.once(length, b"a")  # wrong
    parsed(5)  # wrong
    stored(5)  # wrong
    stored("url", times=2)  # wrong
    io.defer_read(url_of, "more")  # wrong
    io.actor(Words, 5)  # wrong


def uses(
    a: IO[Shop, NotFound, str], b: IO[Shop, Busy, int], file: Resource[Shop, Busy, str]
) -> None:
    takes_int(a)  # wrong
    a.map(takes_int)  # wrong
    a.map(lambda text: text.upcase())  # wrong
    io.defer(length, "a").map(takes_text)  # wrong
    a.flat_map(length)  # wrong
    a.flat_map(lambda text: len(text))  # wrong
    a.flat_map(store)  # wrong
    io.defer(length, "a").flat_map(fetch)  # wrong
    a.flat_map(fetch).flat_map(water)  # wrong
    a.then(b).map(takes_text)  # wrong
    a.then(5)  # wrong
    a.zip(b).map(lambda both: takes_int(both[0]))  # wrong
    io.zip_par(a, b).map(lambda both: takes_text(both[1]))  # wrong
    io.zip_par([b, b]).map(lambda all_of_them: takes_text(all_of_them[0]))  # wrong
    io.race(a, b).map(takes_text)  # wrong
    io.traverse([1, 2], fetch)  # wrong
    io.traverse_par(["a"], length)  # wrong
    file.use(store)  # wrong
    file.with_(a).map(takes_int)  # wrong


def failures(a: IO[Shop, NotFound, str], b: IO[Shop, Busy, int]) -> None:
    a.catch(or_none)  # wrong
    a.map_error(said)  # wrong
    a.catch(lambda errors: takes_int(errors[0]) or io.pure(1))  # wrong
    a.attempt().map(takes_text)  # wrong
    a.retry(3)  # wrong
    a.timeout("1")  # wrong


def runs(a: IO[Shop, NotFound, str], queue: Queue[int], answer: Deferred[str]) -> None:
    a.run(Garden())  # wrong
    a.run(Shop(), on="tcp://10.0.0.1:7077")  # wrong
    io.defer_read(url_of).run(Garden())  # wrong
    queue.put("a")  # wrong
    queue.take().map(takes_text)  # wrong
    answer.set(5)  # wrong


@io.do
async def forgetful(a: IO[Shop, NotFound, str]) -> int:
    text = a
    return len(text)  # wrong


@io.do
async def mistyped(a: IO[Shop, NotFound, str]) -> int:
    return await a  # wrong


def forgets_an_error(a: IO[Shop, NotFound, str]) -> IO[Shop, NotFound, int]:
    return a.flat_map(fetch).flat_map(store)  # wrong


def acted(words: Actor[Words], cluster: Cluster, count: Var[int]) -> None:
    words.call(Words.add, 5)  # wrong
    cluster.submit(store(b""), Garden())  # wrong
    count.set("5")  # wrong
    io.placed(fetch, {"gpu": 1})  # wrong


def maps() -> None:
    distio.map(length, [1])  # wrong
    distio.map(url_of, [Shop()], [Shop()])  # wrong
    distio.map(lambda text: text.upcase(), ["a"])  # wrong
    distio.map(length, ["a"], thread=2)  # wrong
    distio.starmap(length, [(1,)])  # wrong
    takes_text(next(distio.map(fetch, ["a"])))  # wrong
    sum(distio.map(length, ["a"], return_exceptions=True))  # wrong


async def served() -> None:
    queue = await Queue[int].create(3)
    await queue.put("a")  # wrong
    io.defer_read_io(fetch_from, 5)  # wrong
    io.defer_read_io(fetch_from, "a").run(Garden())  # wrong
