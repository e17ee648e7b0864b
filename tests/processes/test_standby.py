"""Coordinators that stand by for another one, or take over from it: real processes."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Ok
from distio.runtime.journal.database import FILE
from tests.conftest import PATIENCE
from tests.harness.daemons import worker_at
from tests.harness.journaled import await_file, counting, free_url, journaled, total_of

pytestmark = pytest.mark.slow


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def await_result(handle: Any) -> None:
    assert handle.result(timeout=PATIENCE) == Ok(total_of())


def test_standby_goes_on_at_another_address_when_the_coordinator_is_killed(
    journal: Path, tmp_path: Path
) -> None:
    first, second = free_url(), free_url()
    both, started = f"{first},{second}", tmp_path / "started"
    with (
        journaled(journal, first) as former,
        journaled(journal, second, "--standby", is_ready=False) as standby,
        worker_at(both) as worker,
        Cluster.connect(both) as cluster,
    ):
        standby.await_said("standing by until no other coordinator holds the journal")
        handle = cluster.submit(counting(started), None)
        await_file(started)
        former.kill()
        standby.await_ready()
        await_result(handle)
        standby.await_said("going on from the journal")
        worker.terminate()
        assert worker.wait(PATIENCE) == 0


def test_standby_goes_on_at_the_same_address(journal: Path, tmp_path: Path) -> None:
    url, started = free_url(), tmp_path / "started"
    with (
        journaled(journal, url) as former,
        journaled(journal, url, "--standby", is_ready=False) as standby,
        worker_at(url) as worker,
        Cluster.connect(url) as cluster,
    ):
        standby.await_said("standing by")
        handle = cluster.submit(counting(started), None)
        await_file(started)
        former.kill()
        standby.await_ready()
        await_result(handle)
        worker.terminate()


def test_standby_goes_on_when_the_coordinator_is_told_to_end(journal: Path, tmp_path: Path) -> None:
    url, started = f"ipc://{tmp_path}/c", tmp_path / "started"
    with (
        journaled(journal, url) as former,
        journaled(journal, url, "--standby", is_ready=False) as standby,
        worker_at(url) as worker,
        Cluster.connect(url) as cluster,
    ):
        standby.await_said("standing by")
        handle = cluster.submit(counting(started), None)
        await_file(started)
        former.send(signal.SIGTERM)
        assert former.wait() == 0
        standby.await_ready()
        await_result(handle)
        worker.terminate()


def test_standby_that_is_told_to_end_ends_at_once(journal: Path) -> None:
    with (
        journaled(journal, free_url()),
        journaled(journal, free_url(), "--standby", is_ready=False) as standby,
    ):
        standby.await_said("standing by")
        standby.send(signal.SIGTERM)
        try:
            code = standby.process.wait(1)
        except subprocess.TimeoutExpired:  # it came in the moment before the wait
            standby.send(signal.SIGTERM)
            code = standby.process.wait(PATIENCE)
        assert code == 143


def test_coordinator_that_was_stopped_ends_when_another_has_taken_over(
    journal: Path, tmp_path: Path
) -> None:
    first, second = free_url(), free_url()
    both, started = f"{first},{second}", tmp_path / "started"
    patience = "--patience", "1"
    with (
        journaled(journal, first, *patience) as former,
        worker_at(both, *patience) as worker,
        Cluster.connect(both, patience=1.0) as cluster,
    ):
        handle = cluster.submit(counting(started), None)
        await_file(started)
        former.stop_between_writes()
        with journaled(journal, second, "--take-over", *patience) as other:
            other.await_said(f"taking over the journal in {journal}")
            await_result(handle)
            former.send(signal.SIGCONT)
            # it hears nothing of members that have gone; what it hears next it can't commit
            assert former.wait() == 1
            assert (
                f"the coordinator ends: another coordinator (process {other.process.pid} on "
                in former.said
            )
        worker.kill()


def test_take_over_amid_a_write_of_another_process_is_refused_and_names_the_holder(
    journal: Path,
) -> None:
    with journaled(journal, free_url()) as former:
        former.stop_between_writes()
        with (
            closing(sqlite3.connect(journal / FILE)) as writer,
            journaled(journal, free_url(), "--take-over", is_ready=False) as second,
        ):
            writer.execute("BEGIN IMMEDIATE")
            second.await_said("taking over the journal in ")
            assert second.wait() == 64
            second.await_said(
                f"can't be written: another process is in the midst of a write, or hangs there: "
                f"end that one (process {former.process.pid} on {socket.gethostname()} has held it "
                f"last)"
            )


def test_second_coordinator_is_refused_and_told_who_holds_the_journal(journal: Path) -> None:
    with (
        journaled(journal, free_url()) as former,
        journaled(journal, free_url(), is_ready=False) as second,
    ):
        assert second.wait() == 64
        assert f"another coordinator holds the journal in {journal}" in second.said
        assert f"(process {former.process.pid}, since " in second.said


def test_take_over_at_an_address_that_is_taken_takes_nothing(journal: Path, tmp_path: Path) -> None:
    url, started = free_url(), tmp_path / "started"
    with (
        journaled(journal, url),
        journaled(journal, url, "--take-over", is_ready=False) as second,
        worker_at(url) as worker,
        Cluster.connect(url) as cluster,
    ):
        assert second.wait() == 64
        assert f"can't listen on {url}: Address already in use" in second.said
        await_result(cluster.submit(counting(started), None))
        worker.terminate()
