"""A program is killed with all its processes, and run again: its named run goes on.

CHAOS_WHOLE_KILLS says how often that happens to each program.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PATIENCE
from tests.harness.chaos import kill_whole

pytestmark = pytest.mark.slow

KILLS: Final = int(os.environ.get("CHAOS_WHOLE_KILLS", "3"))
SEED: Final = int(os.environ.get("CHAOS_SEED", "1"))
LONGEST_SECONDS: Final = 1.0
"""The longest time from the first sign of a program to its end."""

BEGINNING: Final = """
    import os, sys
    from distio import Cluster, Queue, Var, io, resource

    directory = sys.argv[1]

    def note(name):
        file = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, b"x")
        os.close(file)
"""
END: Final = """
    if __name__ == "__main__":
        with Cluster.local(workers=2, journal=f"{directory}/journal") as cluster:
            run = cluster.submit(main(), None, name="nightly")
            print("submitted", flush=True)
            print(run.result().unsafe_get(), flush=True)
"""
PROGRAMS: Final = {
    "steps": (
        """
        @io.do
        async def main():
            total = 0
            for n in range(20):
                await io.step(note, f"step{n}")
                await io.sleep(0.1)
                total += n
            return total
        """,
        "190",
        {f"step{n}" for n in range(20)},
    ),
    "queues, locks and timers": (
        """
        ROUNDS = 12

        @io.do
        async def puts(queue, who):
            for n in range(ROUNDS):
                await io.step(note, f"{who}.{n}")
                await queue.put((who, n))
                await io.sleep(0.05)

        @io.do
        async def passes(source, target, count, total, lock):
            for _ in range(count):
                item = await source.take()
                async with lock:
                    await total.set(await total.get() + 1)
                await target.put(item)

        @io.do
        async def main():
            source, target = await Queue.create(2), await Queue.create()
            total, lock = await Var.create(0), resource.lock("total")
            makers = [puts(source, who) for who in range(3)]
            pipes = [passes(source, target, ROUNDS, total, lock) for _ in range(3)]
            await io.zip_par(*makers, *pipes)
            items = [await target.take() for _ in range(3 * ROUNDS)]
            return len(set(items)), await total.get(), await target.size()
        """,
        "(36, 36, 0)",
        {f"{who}.{n}" for who in range(3) for n in range(12)},
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_that_is_killed_whole_and_run_again_goes_on(name: str, tmp_path: Path) -> None:
    chance = random.Random(f"{SEED} {name}")
    text, right, names = PROGRAMS[name]
    file = tmp_path / "nightly.py"
    file.write_text("".join(map(textwrap.dedent, (BEGINNING, text, END))))
    directory = tmp_path / "notes"
    directory.mkdir()
    command = [sys.executable, str(file), str(directory)]
    for _ in range(KILLS):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "submitted\n"
            try:
                process.wait(chance.uniform(0.0, LONGEST_SECONDS))
            except subprocess.TimeoutExpired:
                kill_whole(process.pid)
            else:
                assert process.stdout.read() == f"{right}\n"
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
    assert done.stdout == f"submitted\n{right}\n"
    calls = {each.name: each.stat().st_size for each in directory.iterdir() if each.is_file()}
    assert calls.keys() == names
    assert sum(calls.values()) <= len(names) + 3 * KILLS, "once, but for those that were killed"
