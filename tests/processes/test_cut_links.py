"""Members of real processes whose connections to the coordinator are cut, by a proxy between."""

from __future__ import annotations

import selectors
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Ok, Panic, Queue, Var, io
from distio.errors import ClusterClosed, WorkerLost
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from tests.conftest import PATIENCE
from tests.harness import daemons


class Proxy:
    """Carries bytes between members and a coordinator, for as long as it isn't cut."""

    def __init__(self, url: str) -> None:
        if url.startswith("ipc://"):
            path = url.removeprefix("ipc://")
            self._dial: Callable[[], socket.socket] = partial(dial, path)
            self._server = socket.socket(socket.AF_UNIX)
            self._server.bind(f"{path}.proxy")
            self._server.listen()
            self.url = f"{url}.proxy"
        else:
            host, port = url.removeprefix("tcp://").split(":")
            self._dial = partial(socket.create_connection, (host, int(port)))
            self._server = socket.create_server(("127.0.0.1", 0))
            self.url = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self._ear, self._mouth = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._is_cut = False
        self._has_obeyed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def cut(self) -> None:
        """Break all connections, and let nobody make others until `heal`."""
        self._order(b"c")

    def heal(self) -> None:
        self._order(b"h")

    def break_all(self) -> None:
        """Break all connections; others can be made at once."""
        self.cut()
        self.heal()

    def close(self) -> None:
        self._mouth.send(b"q")
        self._thread.join()
        self.drop()
        for each in (self._server, self._ear, self._mouth):
            each.close()
        self._selector.close()

    def _order(self, order: bytes) -> None:
        self._has_obeyed.clear()
        self._mouth.send(order)
        assert self._has_obeyed.wait(PATIENCE)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._ear:
                    order = self._ear.recv(1)
                    if order == b"q":
                        return
                    self._is_cut = order == b"c"
                    if self._is_cut:
                        self.drop()
                    self._has_obeyed.set()
                elif key.fileobj is self._server:
                    self._accept()
                elif key.fileobj in self._peers:
                    self._carry(key.fileobj)

    def _accept(self) -> None:
        member, _ = self._server.accept()
        if self._is_cut:
            member.close()
            return
        coordinator = self._dial()
        for one, other in ((member, coordinator), (coordinator, member)):
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _carry(self, source: socket.socket) -> None:
        with suppress(OSError):  # then it is closed
            if data := source.recv(65536):
                self._peers[source].sendall(data)
                return
        self._close_pair(source)

    def _close_pair(self, one: socket.socket) -> None:
        for each in (one, self._peers[one]):
            self._selector.unregister(each)
            del self._peers[each]
            each.close()

    def drop(self) -> None:
        while self._peers:
            self._close_pair(next(iter(self._peers)))


def dial(path: str) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    return stream


Start = Callable[[float], tuple[CoordinatorProcess, Proxy]]


@pytest.fixture(params=["tcp", "ipc"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Runs a coordinator that allows this absence, and a proxy before it: on ipc that is another
    process, as ssh is, so it tells nothing of the ends of members."""
    ends: list[Callable[[], None]] = []
    directory = tempfile.TemporaryDirectory(dir="/tmp")

    def begin(absence: float) -> tuple[CoordinatorProcess, Proxy]:
        is_tcp = request.param == "tcp"
        options = CoordinatorOptions(is_insecure=is_tcp, absence=absence, workers_are_here=is_tcp)
        url = "tcp://127.0.0.1:0" if is_tcp else f"ipc://{directory.name}/c{len(ends)}"
        process = CoordinatorProcess(url, options)
        thread = threading.Thread(target=process.run)
        thread.start()
        proxy = Proxy(process.url)
        ends.extend((proxy.close, process.stop, thread.join))
        return process, proxy

    yield begin
    for end in ends:
        end()
    directory.cleanup()


def worker_at(url: str, *options: str) -> subprocess.Popen[str]:
    """Start a worker that has joined the coordinator at this URL."""
    worker = daemons.worker_at(url, *options, stderr=subprocess.PIPE)
    assert worker.stderr is not None
    while "joined the cluster" not in (line := worker.stderr.readline()):
        assert line, "the worker ended"
    return worker


@io.do
async def pipeline(items: int, log: str) -> list[int]:
    """Items go from worker to worker by way of the coordinator; each is written down once."""
    queue = await Queue.create(2)
    done: Var[int] = await Var.create(0)

    def note(item: int) -> None:
        with open(log, "a") as file:
            file.write(f"{item}\n")

    @io.do
    async def puts() -> None:
        for each in range(items):
            await queue.put(each)
        await queue.close()

    @io.do
    async def takes() -> list[int]:
        taken = []
        async for each in queue:
            await io.defer(note, each)  # a fiber that moves repeats its own lines
            await done.update(lambda n: (n + 1, None))
            taken.append(each)
        return taken

    _, one, other = await io.zip_par(puts(), takes(), takes())
    return [await done.get(), *sorted([*one, *other])]


@pytest.mark.slow
@pytest.mark.parametrize("who", ["worker", "client", "all"])
def test_run_whose_connections_break_again_and_again_loses_and_repeats_nothing(
    who: str, start: Start, tmp_path: Path
) -> None:
    process, proxy = start(30.0)
    at_worker = proxy.url if who != "client" else process.url
    at_client = proxy.url if who != "worker" else process.url
    workers = [worker_at(at_worker), worker_at(at_worker)]
    log, items = tmp_path / "log", 300
    with Cluster.connect(at_client) as cluster:
        running = cluster.submit(pipeline(items, str(log)), None)
        for share in range(1, 6):
            wait_for_lines(log, share * items // 8)
            proxy.break_all()
        result = running.result(timeout=PATIENCE)
        assert result == Ok([items, *range(items)])
        assert sorted(map(int, log.read_text().split())) == list(range(items))
        assert [each.poll() for each in workers] == [None, None]
        assert len(process._board.machine.members) == 3
        assert process._board.machine.state.next_incarnation == 4, "nobody has joined anew"
    end(workers)


@pytest.mark.slow
def test_connection_that_is_cut_for_less_than_the_limit_goes_on_where_it_was(start: Start) -> None:
    process, proxy = start(30.0)
    worker = worker_at(proxy.url)
    with Cluster.connect(process.url) as cluster:
        running = cluster.submit(io.zip_par(io.sleep(0.2).then(io.pure(1))), None)
        assert io.zip_par(io.pure(1)).run(None, on=cluster) == Ok((1,))
        proxy.cut()
        wait_until(lambda: bool(process._board._links.absent))
        more = cluster.submit(io.zip_par(io.pure(2)), None)
        proxy.heal()
        assert running.result(timeout=PATIENCE) == Ok((1,))
        assert more.result(timeout=PATIENCE) == Ok((2,))
    end([worker])


@pytest.mark.slow
def test_worker_that_is_cut_off_for_longer_than_the_limit_is_a_named_loss(start: Start) -> None:
    process, proxy = start(0.3)
    worker = worker_at(proxy.url)
    with Cluster.connect(process.url) as cluster:
        running = cluster.submit(io.zip_par(io.sleep(1000)), None, snapshots="off")
        assert io.zip_par(io.pure(1)).run(None, on=cluster) == Ok((1,))
        proxy.cut()
        result = running.result(timeout=PATIENCE)
    assert isinstance(result, Panic)
    lost = result.exceptions[0].exception
    assert isinstance(lost, WorkerLost)
    assert lost.reason == "its connection broke, and it didn't come back within 0.3 s"
    _, said = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 75
    assert "broke, and could not be made again within 0.3 s" in said


@pytest.mark.slow
def test_client_that_is_cut_off_for_longer_than_the_limit_has_a_named_end(start: Start) -> None:
    process, proxy = start(0.3)
    worker = worker_at(process.url)
    with Cluster.connect(proxy.url) as cluster:
        running = cluster.submit(io.sleep(1000), None)
        assert io.zip_par(io.pure(1)).run(None, on=cluster) == Ok((1,))
        proxy.cut()
        result = running.result(timeout=PATIENCE)
    assert isinstance(result, Panic)
    closed = result.exceptions[0].exception
    assert isinstance(closed, ClusterClosed)
    assert "could not be made again within 0.3 s" in str(closed)
    wait_until(lambda: not process._board.machine.runs)
    end([worker])


def wait_for_lines(log: Path, count: int) -> None:
    wait_until(lambda: log.exists() and log.read_text().count("\n") >= count)


def wait_until(holds: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(int(PATIENCE * 100)):
        if holds():
            return
        waited.wait(0.01)
    pytest.fail("it never came about")


def end(workers: list[subprocess.Popen[Any]]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.communicate(timeout=PATIENCE)
