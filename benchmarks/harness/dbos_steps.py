"""DBOS Transact on SQLite: steps a second, and how soon a killed process's workflow goes on.

Run by `benchmarks.durable`, in a process of its own: `steps WORKFLOWS STEPS`
or `resume`; prints one number.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from dbos import DBOS, SetWorkflowID


def launch(directory: str) -> None:
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{directory}/system.sqlite",
            "run_admin_server": False,
            "log_level": "ERROR",
            "application_version": "1",
        }
    )


@DBOS.step()
def step(n: int) -> int:
    return n


@DBOS.workflow()
def chain(count: int) -> int:
    return sum(step(n) for n in range(count))


@DBOS.step()
def first(directory: str) -> None:
    open(f"{directory}/begun", "w").close()


@DBOS.step()
def second(directory: str) -> None:
    if os.path.exists(f"{directory}/killed"):
        with open(f"{directory}/back.new", "w") as file:
            file.write(str(time.time()))
        os.rename(f"{directory}/back.new", f"{directory}/back")
    else:
        time.sleep(1000)


@DBOS.workflow()
def killed(directory: str) -> None:
    first(directory)
    second(directory)


def steps(workflows: int, count: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        launch(directory)
        DBOS.launch()
        chain(2)
        begun = time.perf_counter()
        for handle in [DBOS.start_workflow(chain, count) for _ in range(workflows)]:
            handle.get_result()
        seconds = time.perf_counter() - begun
        DBOS.destroy()
        return workflows * count / seconds


def resume() -> float:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, __file__, "run", directory]
        process = subprocess.Popen(command)
        while not os.path.exists(f"{directory}/begun"):
            time.sleep(0.001)
        process.kill()
        process.wait()
        open(f"{directory}/killed", "w").close()
        begun = time.time()
        process = subprocess.Popen(command)
        while not os.path.exists(f"{directory}/back"):
            time.sleep(0.001)
        with open(f"{directory}/back") as file:
            seconds = float(file.read()) - begun
        process.kill()
        process.wait()
        return seconds


def run(directory: str) -> None:
    launch(directory)
    DBOS.launch()
    with SetWorkflowID("one"):
        DBOS.start_workflow(killed, directory)
    time.sleep(1000)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "steps":
        print(steps(int(arguments[0]), int(arguments[1])))
    elif what == "resume":
        print(resume())
    else:
        run(*arguments)
