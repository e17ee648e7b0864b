"""Coordinators whose journal is on a full disk, on a slow one, or has gone back: real processes."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from distio import Cluster, Ok, Var, io
from tests.conftest import PATIENCE
from tests.harness.daemons import worker_at
from tests.harness.disks import fill_disk, small_disk_at
from tests.harness.journaled import (
    FIBERS,
    ROUNDS,
    await_file,
    counting,
    free_url,
    journaled,
    total_of,
)

pytestmark = pytest.mark.slow

SLOW: Final = """
import time
from distio.runtime.journal.database import Database
commit = Database.commit
def slow(*arguments):
    time.sleep({seconds})
    commit(*arguments)
Database.commit = slow
"""


# -- a full disk ------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB: the write-ahead log alone may take 16."""
    with small_disk_at(tmp_path / "disk", 32) as directory:
        yield directory


def test_cluster_whose_disk_is_full_stands_still_and_goes_on_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    url, started = free_url(), tmp_path / "started"
    with (
        journaled(small_disk / "journal", url) as coordinator,
        worker_at(url) as worker,
        Cluster.connect(url) as cluster,
    ):
        handle = cluster.submit(counting(started), None)
        await_file(started)
        fill_disk(small_disk / "ballast")
        coordinator.await_said("can't be written (database or disk is full)")
        assert not handle.done()
        (small_disk / "ballast").unlink()
        assert handle.result(timeout=PATIENCE) == Ok(total_of())
        coordinator.await_said("is written again, and the cluster goes on")
        assert coordinator.said.count("can't be written") == 1
        assert "is lost:" not in coordinator.said
        worker.terminate()


def test_coordinator_whose_disk_is_full_ends_when_it_is_told_to_and_another_goes_on(
    small_disk: Path, tmp_path: Path
) -> None:
    journal, url, started = small_disk / "journal", free_url(), tmp_path / "started"
    with journaled(journal, url) as coordinator, worker_at(url) as worker:
        with Cluster.connect(url) as cluster:
            handle = cluster.submit(counting(started), None)
            await_file(started)
            fill_disk(small_disk / "ballast")
            coordinator.await_said("can't be written (database or disk is full)")
            coordinator.send(signal.SIGTERM)
            assert coordinator.wait() == 1
            assert "the coordinator ends: it was told to, while the journal" in coordinator.said
            (small_disk / "ballast").unlink()
            with journaled(journal, url):
                assert handle.result(timeout=PATIENCE) == Ok(total_of())
        worker.kill()


# -- a slow disk ------------------------------------------------------------------------------


def test_slow_disk_costs_time_and_no_member(tmp_path: Path) -> None:
    url = free_url()
    with (
        journaled(tmp_path / "journal", url, before=SLOW.format(seconds=1)) as slow,
        worker_at(url) as worker,
        Cluster.connect(url) as cluster,
    ):
        main = Var.create(0).flat_map(
            lambda var: io.zip_par([var.update(lambda n: (n + 1, None)) for _ in range(3)]).then(
                var.get()
            )
        )
        assert cluster.submit(main, None).result(timeout=PATIENCE) == Ok(3)
        assert "is lost:" not in slow.said
        assert "broke" not in slow.said
        worker.kill()


def test_members_come_back_to_a_coordinator_whose_disk_is_slow(tmp_path: Path) -> None:
    journal, url, started = tmp_path / "journal", free_url(), tmp_path / "started"
    with (
        journaled(journal, url) as former,
        worker_at(url) as worker,
        Cluster.connect(url) as cluster,
    ):
        handle = cluster.submit(counting(started, 5), None)
        await_file(started)
        former.kill()
        with journaled(journal, url, before=SLOW.format(seconds=1)) as slow:
            assert handle.result(timeout=PATIENCE) == Ok(FIBERS * 5)
            assert "is lost:" not in slow.said
        worker.kill()


# -- a journal that has gone back -------------------------------------------------------------


def test_journal_that_has_gone_back_fences_members_that_know_more(tmp_path: Path) -> None:
    journal, copy, url = tmp_path / "journal", tmp_path / "copy", free_url()

    @io.do
    async def count(var: Var[int]) -> None:
        for n in range(ROUNDS):
            await var.update(lambda value: (value + 1, None))
            await io.defer((tmp_path / f"round {n}").touch)
            await io.sleep(0.1)

    @io.do
    async def main() -> int:
        var = await Var.create(0)
        await io.zip_par([count(var)])
        return await var.get()

    with (
        journaled(journal, url) as coordinator,
        worker_at(url, stderr=subprocess.PIPE) as first,
        Cluster.connect(url) as cluster,
    ):
        handle = cluster.submit(main(), None)
        await_file(tmp_path / "round 3")
        coordinator.send(signal.SIGSTOP)
        shutil.copytree(journal, copy)
        coordinator.send(signal.SIGCONT)
        await_file(tmp_path / "round 9")
        coordinator.kill()
        shutil.rmtree(journal)
        copy.rename(journal)
        with journaled(journal, url) as again, worker_at(url) as second:
            assert handle.result(timeout=PATIENCE) == Ok(ROUNDS)
            _, said = first.communicate(timeout=PATIENCE)
            assert first.returncode == 75
            why = "the coordinator has gone back to an earlier state of its journal"
            assert f"{why}: this process has heard message " in said, said
            again.await_said(f" can't come back: {why}")
            again.await_said("going on from the journal in")
            second.terminate()
