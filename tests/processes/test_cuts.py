"""A coordinator that keeps cuts: where a run stood before, as `distio inspect` shows it."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distio import Cluster, Ok
from distio.runtime.journal.inspecting import show
from tests.conftest import PATIENCE
from tests.harness.daemons import worker_at
from tests.harness.journaled import await_file, free_url, journaled
from tests.harness.script_server import run_script

pytestmark = pytest.mark.slow

ORDERS = """
import time
from pathlib import Path
from distio import io

def wait_for_word(place, state):
    Path(place, f"{state} is there").touch()
    while not Path(place, f"leave {state}").exists():
        time.sleep(0.01)

def stand(place, state, *later):
    def go_on(_):
        return stand(place, *later) if later else io.pure(state)

    waiting = io.defer(wait_for_word, place, state)
    return io.checkpoint.then(waiting).flat_map(go_on)
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the module of the program is."""
    path = tmp_path / "code"
    path.mkdir()
    (path / "orders_of_cuts.py").write_text(ORDERS)
    monkeypatch.syspath_prepend(path)
    yield path
    sys.modules.pop("orders_of_cuts", None)


def says(code: Path, *arguments: object) -> tuple[int, str, str]:
    """The exit code and the output of a command, run where the code is."""
    command = code / "command.py"
    command.write_text("from distio.cli.main import main; main()")
    done = run_script([str(command), *map(str, arguments)], code, PATIENCE)
    return done.returncode, done.stdout, done.stderr


def states_in(code: Path, journal: Path, *options: object) -> list[str]:
    """The states that `distio inspect` finds captured in the run; none: there is no run yet."""
    options = "--journal", journal, "--json", *options
    _, out, _ = says(code, "inspect", *options)
    found = []
    for each in json.loads(out or '{"runs": []}')["runs"]:
        _, out, _ = says(code, "inspect", each["run"], *options)
        for run in json.loads(out or '{"runs": []}')["runs"]:
            for fiber in run["fibers"]:
                found += [place["values"].get("state") for place in fiber["places"]]
    return [state for state in found if state is not None]


def test_inspect_shows_a_run_as_it_was_at_each_cut(tmp_path: Path, code: Path) -> None:
    import orders_of_cuts  # type: ignore[import-not-found]  # it is written by the fixture

    url, journal, place = free_url(), tmp_path / "journal", tmp_path
    states = ["ordered", "paid", "sent"]
    options = "--keep-snapshots", "3"
    with worker_at(url, "--retry", "60", path=code) as worker:
        for before, state in zip([None, *states], states):
            with journaled(journal, url, *options) as coordinator:
                if before is None:
                    with Cluster.connect(url) as cluster:
                        cluster.submit(orders_of_cuts.stand(str(place), *states), None, name="it")
                else:
                    (place / f"leave {before}").touch()
                await_file(place / f"{state} is there")
                coordinator.send(signal.SIGTERM)
                assert coordinator.wait() == 0

        cuts = [each.cut for each in show(journal).cuts]
        assert [states_in(code, journal, "--cut", cut) for cut in cuts] == [
            [repr(state)] for state in states
        ]
        assert states_in(code, journal) == [repr("sent")]
        code_of, _, err = says(code, "inspect", "--journal", journal, "--cut", 1)
        assert code_of == 64
        listed = ", ".join(map(str, cuts))
        assert (
            err == f"distio: the journal in {journal} has no cut 1; those that it has: {listed}\n"
        )
        _, out, _ = says(code, "journal", "check", journal)
        assert "is whole" in out

        with journaled(journal, url, *options), Cluster.connect(url) as cluster:
            (place / "leave sent").touch()
            assert cluster.attach("it").result(PATIENCE) == Ok("sent")
        worker.terminate()


def test_cuts_are_made_while_a_coordinator_goes_on(tmp_path: Path, code: Path) -> None:
    import orders_of_cuts

    url, journal, place = free_url(), tmp_path / "journal", tmp_path
    options = "--keep-snapshots", "2", "--snapshot-every", "0.05"

    looked_at = 0

    def is_last_cut_of(state: str) -> bool:
        nonlocal looked_at
        last = max((each.cut for each in show(journal).cuts), default=0)
        if last == looked_at:
            time.sleep(0.02)
            return False
        looked_at = last
        return states_in(code, journal, "--cut", last) == [repr(state)]

    with (
        journaled(journal, url, *options) as coordinator,
        worker_at(url, path=code) as worker,
        Cluster.connect(url) as cluster,
    ):
        run = cluster.submit(orders_of_cuts.stand(str(place), "first", "second"), None, name="it")
        for state in ("first", "second"):
            await_file(place / f"{state} is there")
            while not is_last_cut_of(state):  # until the next cut, if it was in the midst of one
                assert coordinator.process.poll() is None
            (place / f"leave {state}").touch()
        assert run.result(PATIENCE) == Ok("second")
        assert len(show(journal).cuts) <= 2
        worker.terminate()


def test_cuts_without_a_journal_are_refused(tmp_path: Path) -> None:
    code, _, err = says(tmp_path, "coordinator", "--keep-snapshots", "2")
    assert code == 64
    assert err == "distio: --keep-snapshots keeps them in a journal; add --journal\n"
