"""`distio fork`: a run goes on from a cut in a cluster of its own, and the other is untouched."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, Ok
from distio.errors import RunUnknown
from distio.runtime.journal.inspecting import damages_of, show
from tests.conftest import PATIENCE
from tests.harness.daemons import worker_at
from tests.harness.journaled import await_file, free_url, journaled
from tests.processes.test_cuts import says

pytestmark = pytest.mark.slow

PROGRAM = """
from pathlib import Path
from distio import Queue, Var, io, resource

def until(path):
    def look(is_there):
        return io.pure(None) if is_there else io.sleep(0.02).then(io.defer_io(until, path))

    return io.defer(path.exists).flat_map(look)

def note(path, line):
    with open(path, "a") as file:
        file.write(line)

def main(place):
    place = Path(place)

    def work(queue, var, lock):
        add = var.update(lambda n: (n + 1, None))
        waits = io.checkpoint.then(io.defer((place / "waits").touch), until(place / "go"))
        goes_on = io.defer(note, place / "world", "gone on ").then(add, queue.put("after"))
        holder = lock.with_(add.then(queue.put("before"), waits, goes_on))
        taker = io.zip(queue.take(), queue.take(), queue.take())
        locker = until(place / "waits").then(lock.with_(queue.put("last").then(var.get())))
        return io.zip_par(holder, taker, locker).map(lambda got: got[1:])

    made = io.zip(Queue.create(), Var.create(0), resource.reentrant_lock)
    return made.flat_map(lambda all: work(*all))
"""
RIGHT: Any = (("before", "after", "last"), 2)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the module of the program is."""
    path = tmp_path / "code"
    path.mkdir()
    (path / "program_of_forks.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(path)
    yield path
    sys.modules.pop("program_of_forks", None)


def test_run_goes_on_from_a_cut_in_a_cluster_of_its_own(tmp_path: Path, code: Path) -> None:
    import program_of_forks  # type: ignore[import-not-found]  # it is written by the fixture

    url, journal, forked = free_url(), tmp_path / "journal", tmp_path / "forks" / "again"
    options = "--keep-snapshots", "3"
    with worker_at(url, "--retry", "60", path=code) as worker:
        with journaled(journal, url, *options) as coordinator:
            with Cluster.connect(url) as cluster:
                cluster.submit(program_of_forks.main(str(tmp_path)), None, name="it")
                cluster.submit(program_of_forks.until(tmp_path / "go"), None, name="other")
            await_file(tmp_path / "waits")
            coordinator.send(signal.SIGTERM)
            assert coordinator.wait() == 0
        [cut] = [each.cut for each in show(journal).cuts]
        with journaled(journal, url, *options) as coordinator:
            (tmp_path / "go").touch()
            with Cluster.connect(url) as cluster:
                assert cluster.attach("it").result(PATIENCE) == Ok(RIGHT)

            fork = "fork", "it", "--journal", journal, "--cut", cut, "--into", forked
            done, out, err = says(code, *fork, "--name", "again")
            assert (done, err) == (0, "")
            assert f"{forked} has the run again as it was at " in out
            assert [*damages_of(forked)] == []
            assert [run.id for run in show(forked).runs] == [1]
            done, _, err = says(code, *fork)
            assert (done, err) == (
                64,
                f"distio: {forked} is there already; give a directory that isn't\n",
            )
            worker.terminate()

    url = free_url()
    with journaled(forked, url), worker_at(url, path=code) as worker:
        with Cluster.connect(url) as cluster:
            assert cluster.attach("again").result(PATIENCE) == Ok(RIGHT)
            for name in ("it", "other"):
                with pytest.raises(RunUnknown):
                    cluster.attach(name)
        worker.terminate()
    assert (tmp_path / "world").read_text() == "gone on gone on "


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("none", "no run none goes on there; those with a name that do: 'births'"),
        ("births", "can't be forked: it keeps 'births' of its fibers"),
        ("1.0", "can't be forked: it has no name"),
    ],
)
def test_run_that_cannot_be_forked_is_refused_and_nothing_is_made(
    run: str, reason: str, tmp_path: Path, code: Path
) -> None:
    import program_of_forks

    url, journal, forked = free_url(), tmp_path / "journal", tmp_path / "forked"
    main = program_of_forks.until(tmp_path / "go")
    with journaled(journal, url), Cluster.connect(url) as cluster:
        cluster.submit(main, None, name="births", snapshots="births")
        running = cluster.submit(main, None)
        done, _, err = says(code, "fork", run, "--journal", journal, "--into", forked)
        assert done == 64
        assert reason in err
        assert not forked.exists()
        running.cancel()
