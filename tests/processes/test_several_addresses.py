"""Members that know several addresses, at one of which the coordinator is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from distio import Cluster, Ok, io
from distio.errors import ClusterError
from distio.runtime.addresses import check_urls
from tests.conftest import PATIENCE
from tests.harness.daemons import Coordinate, coordinate, worker_at
from tests.harness.journaled import free_url

__all__ = ["coordinate"]


@contextmanager
def silent_url() -> Iterator[str]:
    """A URL at which a process listens, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.slow
@pytest.mark.parametrize("retry", [0.0, PATIENCE])
@pytest.mark.parametrize("is_first", [True, False])
def test_client_joins_the_coordinator_wherever_it_is(
    is_first: bool, retry: float, coordinate: Coordinate
) -> None:
    alive, dead = coordinate(30.0), free_url()
    urls = f"{alive},{dead}" if is_first else f"{dead},{alive}"
    with Cluster.connect(urls, retry=retry) as cluster:
        assert io.pure(3).run(None, on=cluster) == Ok(3)


@pytest.mark.slow
def test_client_joins_a_coordinator_though_another_address_is_silent(
    coordinate: Coordinate,
) -> None:
    with silent_url() as silent, Cluster.connect(f"{silent},{coordinate(30.0)}") as cluster:
        assert io.pure(3).run(None, on=cluster) == Ok(3)


@pytest.mark.slow
def test_worker_joins_the_coordinator_wherever_it_is(coordinate: Coordinate) -> None:
    alive, dead = coordinate(30.0), free_url()
    with worker_at(f"{dead},{alive}") as worker, Cluster.connect(alive) as cluster:
        assert io.zip_par(io.pure(3)).run(None, on=cluster) == Ok((3,))
        worker.terminate()
        assert worker.wait(PATIENCE) == 0


@pytest.mark.slow
def test_client_that_finds_no_coordinator_names_all_addresses() -> None:
    first, second = free_url(), free_url()
    with pytest.raises(ClusterError, match=f"no coordinator answers at {first},{second} "):
        Cluster.connect(f"{first},{second}", timeout=0.1)
    said = rf"no coordinator answers at {first} \(Connection refused\) or {second} \(Conn"
    with pytest.raises(ClusterError, match=said):
        Cluster.connect(f"{first},{second}", retry=0.01)


@pytest.mark.parametrize(
    ("urls", "parts"),
    [
        ("tcp://a:1", ["tcp://a:1"]),
        ("tcp://a:1,tcp://b:2,ipc:///c", ["tcp://a:1", "tcp://b:2", "ipc:///c"]),
        ("tcp://a:1, tcp://b:2", ["tcp://a:1", "tcp://b:2"]),
        ("ipc:///tmp/a,b", ["ipc:///tmp/a,b"]),
    ],
)
def test_addresses_are_told_apart_by_commas_between_them(urls: str, parts: list[str]) -> None:
    assert check_urls(urls) == parts


@pytest.mark.parametrize("urls", ["tcp://a:1,", "tcp://a:1,tcp://b", ",tcp://a:1", "", 3])
def test_addresses_of_which_one_is_none_are_refused(urls: object) -> None:
    with pytest.raises(ClusterError, match="the URL of a coordinator is tcp://HOST:PORT"):
        check_urls(urls)
