"""A journal in PostgreSQL, tried against a real server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from distio import Cluster, Ok
from distio.coordination.journal.inputs import Ticked, decode
from distio.errors import JournalError
from distio.runtime.journal.inspecting import compact, damages_of, show
from distio.runtime.journal.journal import Access, Journal, JournalLost
from distio.runtime.journal.limits import Limits
from distio.runtime.journal.postgres import _without_password
from distio.runtime.journal.reading import reading
from tests.conftest import PATIENCE
from tests.harness.daemons import worker_at
from tests.harness.journaled import await_file, counting, free_url, journaled, total_of
from tests.harness.journals import (
    TURNS,
    fill,
    ignore,
    make,
    never,
    opened,
    record,
    record_of_saving,
    state_of,
    states,
    take_up,
)

psycopg = pytest.importorskip("psycopg")

pytestmark = pytest.mark.slow

_DEBIAN: Final = Path("/usr/lib/postgresql")


def program(name: str) -> str | None:
    """The path of a program of the server, if it is installed."""
    found = [str(path) for path in sorted(_DEBIAN.glob(f"*/bin/{name}"))]
    return shutil.which(name) or (found[-1] if found else None)


class Server:
    """A server with a directory of its own, which listens there alone."""

    def __init__(self, directory: Path, user: str | None) -> None:
        self._user = user
        self._data = directory / "data"
        self._directory = directory
        self._run("initdb", "--auth=trust", "--username=tester", "--no-sync")
        self.start()

    def _run(self, name: str, *options: str) -> None:
        path = program(name)
        assert path is not None
        subprocess.run(
            [path, "-D", str(self._data), *options],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd=self._directory,
        )

    def start(self) -> None:
        options = f"-k {self._directory} -c listen_addresses= -c fsync=off"
        log = str(self._directory / "log")
        self._run("pg_ctl", "--wait", "--log", log, "--options", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql:///{database}?host={self._directory}&user=tester"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if program("pg_ctl") is None or program("initdb") is None:
        pytest.skip("no PostgreSQL server is installed")
    directory, user = Path(tempfile.mkdtemp(prefix="distio-", dir="/tmp")), None
    if os.geteuid() == 0:  # the server doesn't run as root
        user = "nobody"
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
    try:
        found = Server(directory, user)
        yield found
        found.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


_numbers: Final = count()


@pytest.fixture
def url(server: Server) -> str:
    """The URL of a database without a journal."""
    name = f"journal_{next(_numbers)}"
    execute(server.url(), f"CREATE DATABASE {name}")
    return server.url(name)


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True, client_encoding="utf8") as db:
        db.execute(statement)


def taken_up(url: str) -> tuple[int, Any]:
    """The number of the last turn of a journal, and the coordinator after it."""
    journal = opened(url)
    try:
        board = journal.recover(make)
        return journal._turn, state_of(board)
    finally:
        journal.close()


def journal_at(url: str, complain: Callable[[str], None] = ignore, **options: Any) -> Journal:
    return Journal(url, complain=complain, **options)


@pytest.mark.parametrize("checkpoint_at", [None, 20, TURNS])
def test_journal_in_a_database_gives_the_same_coordinator(
    checkpoint_at: int | None, url: str
) -> None:
    journal = journal_at(url)
    fill(journal, checkpoint_at=checkpoint_at)
    journal.close()
    assert taken_up(url) == (TURNS, states()[TURNS])


def test_fork_writes_its_checkpoint_by_a_connection_of_its_own(url: str) -> None:
    journal = journal_at(url)
    board = fill(journal, last=10)
    journal.begin_checkpoint(board)
    take_up(journal, board, decode(record()[10]).inputs)
    journal.end_checkpoint()
    journal.close()
    assert show(url).turns_to_replay == 1
    assert taken_up(url) == (11, states()[11])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE distio_turns SET inputs = 'x' WHERE number = 30", "turn 30 isn't what"),
        ("DELETE FROM distio_turns WHERE number = 30", "turn 30 is missing"),
        ("DELETE FROM distio_blobs", "blob 1 is missing"),
        ("DELETE FROM distio_checkpoints", "turn-20 in postgresql:.* can't be opened"),
        ("DROP TABLE distio_turns", "distio_turns.* does not exist"),
        ("DROP TABLE distio_about", "distio_about.* does not exist"),
        ("UPDATE distio_about SET about = 'x'", "its first row isn't what was written"),
    ],
)
def test_damaged_journal_in_a_database_is_refused(statement: str, said: str, url: str) -> None:
    journal = journal_at(url)
    fill(journal, checkpoint_at=20)
    journal.close()
    assert list(damages_of(url)) == []
    execute(url, statement)
    with pytest.raises(JournalError, match=said):
        taken_up(url)
    assert len(list(damages_of(url))) == 1


def test_second_holder_of_a_database_is_refused_and_told_who_is_the_first(url: str) -> None:
    journal = journal_at(url)
    with pytest.raises(JournalError, match=rf"\(process {os.getpid()} on .*--take-over"):
        journal_at(url)
    with pytest.raises(JournalError, match="another coordinator holds"):
        compact(url, ignore)
    assert show(url).held_by.startswith(f"process {os.getpid()} on ")
    journal.close()
    compact(url, ignore)
    assert show(url).held_by == ""


def test_standby_holds_a_database_when_the_holder_has_ended(url: str) -> None:
    journal, standbys = journal_at(url), []
    thread = threading.Thread(
        target=lambda: standbys.append(journal_at(url, access=Access.STANDBY))
    )
    thread.start()
    fill(journal, last=5)
    assert not standbys
    journal.close()
    thread.join(PATIENCE)
    (standby,) = standbys
    assert state_of(standby.recover(make)) == states()[5]
    standby.close()


def test_former_holder_of_a_database_commits_nothing_after_a_take_over(url: str) -> None:
    former = journal_at(url)
    fill(former, last=5)
    journal = journal_at(url, access=Access.TAKE_OVER)
    journal.recover(make)
    former.note(Ticked(former.now()))
    tries = iter([False, False, False])  # the first finds that its connection is gone
    with pytest.raises(JournalLost, match=r"another coordinator \(process"):
        former.commit(lambda seconds: next(tries))
    former.close()
    journal.close()
    assert taken_up(url) == (5, states()[5])


def test_holder_whose_server_restarts_waits_and_goes_on(url: str, server: Server) -> None:
    complaints: list[str] = []
    journal = journal_at(url, complaints.append)
    board = fill(journal, last=5)
    server.stop()

    def start(seconds: float) -> bool:
        server.start()
        return False

    inputs = decode(record()[5]).inputs
    for each in inputs:
        journal.note(each)
        each.take_up(board)
    journal.commit(start)
    assert "so the cluster stands still" in complaints[0]
    journal.close()
    assert taken_up(url)[0] == 6


def test_holder_goes_on_when_its_server_does_not_see_that_the_connection_broke(url: str) -> None:
    complaints: list[str] = []
    journal = journal_at(url, complaints.append)
    board = fill(journal, last=5)
    store: Any = journal._store
    ours = store._db.fileno()
    kept = os.dup(ours)  # the server sees that this is open
    end, other = socket.socketpair()
    with end:
        os.dup2(end.fileno(), ours)
    other.close()
    try:
        for each in decode(record()[5]).inputs:
            journal.note(each)
            each.take_up(board)
        journal.commit(lambda seconds: False)
    finally:
        os.close(kept)
    assert "so the cluster stands still" in complaints[0]
    journal.close()
    assert taken_up(url)[0] == 6


def test_journal_is_opened_when_the_last_holder_is_about_to_go(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distio.runtime.journal.postgres._LEAVES_MILLISECONDS", PATIENCE * 1000)
    former = journal_at(url)
    fill(former, last=5)
    was_refused = threading.Event()

    def leave() -> None:
        with psycopg.connect(url, autocommit=True, client_encoding="utf8") as db:
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            while not (was_refused.is_set() or db.execute(waiting).fetchall()):
                pass
        former.close()

    leaving = threading.Thread(target=leave)
    leaving.start()
    try:
        assert taken_up(url)[0] == 5
    finally:
        was_refused.set()
        leaving.join()


def test_turn_that_was_committed_before_the_connection_broke_is_there_once(url: str) -> None:
    journal = journal_at(url)
    fill(journal, last=5)
    journal._store.commit(6, b"turn", {7: b"blob"})
    journal._store.commit(6, b"turn", {7: b"blob"})
    journal.note(Ticked(journal.now()))
    with pytest.raises(JournalLost):
        journal.commit(never)  # another turn has this number
    journal.close()


def test_standby_of_a_database_goes_on_when_the_coordinator_is_killed(
    url: str, tmp_path: Path
) -> None:
    first, second = free_url(), free_url()
    both, started = f"{first},{second}", tmp_path / "started"
    with (
        journaled(url, first) as former,
        journaled(url, second, "--standby", is_ready=False) as standby,
        worker_at(both) as worker,
        Cluster.connect(both) as cluster,
    ):
        standby.await_said("standing by")
        handle = cluster.submit(counting(started), None)
        await_file(started)
        former.kill()
        standby.await_ready()
        assert handle.result(timeout=PATIENCE) == Ok(total_of())
        worker.terminate()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me@host/db"),
        ("postgresql:///db?host=/tmp&password=secret", "postgresql:///db?host=/tmp&"),
        ("postgres://host:5432/db", "postgres://host:5432/db"),
    ],
)
def test_password_of_a_database_is_not_shown(url: str, shown: str) -> None:
    assert _without_password(url) == shown


@pytest.mark.parametrize("cuts", [0, 1, 3])
def test_last_checkpoints_of_a_database_stay_with_exactly_the_blobs_that_they_need(
    cuts: int, url: str
) -> None:
    journal = opened(url, Limits(cuts=cuts))
    board = journal.recover(make)
    for number, turn in enumerate(record_of_saving()[:35], 1):
        take_up(journal, board, decode(turn).inputs)
        if number % 5 == 0:
            journal.checkpoint_now(board)
        if number == 22:
            journal.close()
            journal = opened(url, Limits(cuts=cuts))
            board = journal.recover(make)
    journal.close()
    turns = [*range(5, 36, 5)][-max(cuts, 1) :]
    assert [each.cut for each in show(url).cuts] == turns
    needed = set[int]()
    for at in turns:
        with reading(url, at) as moment:
            assert state_of(moment.found.board) == states(record_of_saving)[at]
            needed |= moment.found.blobs.alive
            there = {*moment.store.blobs()}
    assert there == needed
    assert [*damages_of(url)] == []
    with psycopg.connect(url, client_encoding="utf8") as db:
        names = {name for (name,) in db.execute("SELECT name FROM distio_checkpoints")}
    assert names == {f"turn-{turn}" for turn in turns}
