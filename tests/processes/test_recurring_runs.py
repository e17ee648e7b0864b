"""A schedule whose program is killed with all its processes, and run again."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import PATIENCE
from tests.harness.chaos import kill_whole
from tests.harness.journaled import await_file

pytestmark = pytest.mark.slow

PROGRAM = """
    import sys, time
    from pathlib import Path
    from distio import Cluster, io, recurring

    directory, catch_up = Path(sys.argv[1]), sys.argv[2]

    def note(moment):
        (directory / f"{moment.timestamp():.3f}").touch()
        if len([*directory.iterdir()]) == 3:
            directory.with_name("third").touch()

    def run(moment):
        return io.step(note, moment)

    if __name__ == "__main__":
        with Cluster.local(workers=1, journal=directory.with_name("journal")) as cluster:
            schedule = recurring.every(0.2, run, catch_up=catch_up)
            until = io.sleep(float(sys.argv[3]))
            cluster.submit(schedule, None, name="ticks")
            print("submitted", flush=True)
            cluster.run(until, None)
"""


@pytest.mark.parametrize("catch_up", ["all", "once"])
def test_schedule_that_is_killed_whole_and_run_again_catches_up(
    catch_up: str, tmp_path: Path
) -> None:
    file = tmp_path / "ticks.py"
    file.write_text(textwrap.dedent(PROGRAM))
    directory = tmp_path / "notes"
    directory.mkdir()
    command = [sys.executable, str(file), str(directory), catch_up]
    with subprocess.Popen([*command, "1000"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "submitted\n"
        await_file(tmp_path / "third")
        kill_whole(process.pid)
    before = {each.name for each in directory.iterdir()}
    subprocess.run([*command, "1"], stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
    moments = sorted(float(each.name) for each in directory.iterdir())
    assert len(moments) > len(before)
    gaps = [round((later - one) / 0.2) for one, later in pairwise(moments)]
    if catch_up == "all":
        assert gaps == [1] * len(gaps)
    else:
        assert max(gaps) > 1
