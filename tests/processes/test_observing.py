"""The commands that look at a cluster, on a cluster of processes."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from distio import Cluster, RunHandle, io, resource
from distio.cli import main as cli
from distio.protocol.messages.overview import OverviewTold
from distio.runtime.observing import observing
from tests.conftest import PATIENCE
from tests.harness.daemons import Coordinate, coordinate, worker_at

__all__ = ["coordinate"]

pytestmark = pytest.mark.slow


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Scene(NamedTuple):
    """A cluster with a worker, on which a run waits: what one types, and the worker's process."""

    types: Callable[..., Ended]
    url: str
    run: RunHandle[Any, Any]
    worker: int


@io.do
async def fetch(number: int) -> None:
    await io.sleep(50)  # one of a minute would be at the coordinator


def program() -> Any:
    fetching = [io.named(f"fetch {number}", fetch(number)) for number in range(3)]
    return io.named("top", io.zip_par(fetching))


class Order(NamedTuple):
    number: int


def approve(order: Order) -> Any:
    return io.sleep(50).flat_map(lambda _: io.pure(order))


def approval() -> Any:
    """A fiber that was saved with a lock, and waits for one that only its worker has seen."""
    order = Order(7)
    waits = io.checkpoint.then(io.zip_par([approve(order)]))
    return resource.lock("approvals").with_(waits.map(lambda _: order))


def until(url: str, holds: Callable[[OverviewTold], bool]) -> None:
    with observing(url) as observer:
        deadline = time.monotonic() + PATIENCE
        while not holds(observer.overview()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def scene(
    coordinate: Coordinate, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Scene]:
    url = coordinate(30.0, absence=0.5)

    def types(*args: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["distio", *args, "--connect", url])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit:
            cli.main()
        assert isinstance(exit.value.code, int)
        return Ended(exit.value.code, *capfd.readouterr())

    with worker_at(url) as worker, Cluster.connect(url) as cluster:
        run = cluster.submit(program(), None)
        until(url, lambda told: told.cluster.states["sleeping"] == 3)
        yield Scene(types, url, run, worker.pid)
        run.cancel()
        worker.terminate()


def fibers_in(told: str) -> Sequence[dict[str, Any]]:
    fibers: Sequence[dict[str, Any]] = json.loads(told)["fibers"]
    return fibers


def test_commands_tell_of_a_cluster_what_goes_on(scene: Scene) -> None:
    status = scene.types("status", "--json")
    told = json.loads(status.out)
    (run,) = told["runs"]
    workers = [each for each in told["members"] if each["kind"] == "worker"]
    assert (status.code, run["fibers"]) == (0, 4)
    assert [(each["process"], each["fibers"]) for each in workers] == [(scene.worker, 4)]
    for command in (["status"], ["top", "--once", "--sort", "since"]):
        assert run["run"] in scene.types(*command).out

    line = fetch.__wrapped__.__code__.co_firstlineno + 2  # type: ignore[attr-defined]  # of `do`
    dump = scene.types("dump", run["run"], "--json")
    fetches = [each for each in fibers_in(dump.out) if str(each["name"]).startswith("fetch")]
    assert len(fetches) == 3
    assert {(each["state"], each["where"]) for each in fetches} == {
        ("sleeps for 50 s", f"{__file__}:{line}")
    }
    assert {each["owner"] for each in fetches} == {run["run"]}
    tree = scene.types("dump").out.splitlines()
    assert tree[0] == f"run {run['run']}: 4 fibers"
    assert tree[1].startswith(f"  {run['run']} (top): waits for fibers")
    assert tree[2].startswith("    ")
    assert f'"{run["run"]}" -> ' in scene.types("dump", "--dot").out

    assert scene.types("dump", "nightly").err == (
        f"distio: no run 'nightly' goes on; those that do: {run['run']}\n"
    )
    assert scene.types("cancel", run["run"]) == Ended(
        0, f"the run {run['run']} is being cancelled\n", ""
    )
    assert "was cancelled" in str(scene.run.result())


def test_dump_names_a_member_that_does_not_answer(scene: Scene) -> None:
    os.kill(scene.worker, signal.SIGSTOP)
    try:
        dump = scene.types("dump", "--wait", "0.2")
    finally:
        os.kill(scene.worker, signal.SIGCONT)
    assert dump.code == 1
    assert f"(process {scene.worker} on " in dump.out
    assert "didn't answer" in dump.out


def test_inspect_shows_what_the_fibers_of_a_living_cluster_have_captured(scene: Scene) -> None:
    with Cluster.connect(scene.url) as cluster:
        run = cluster.submit(approval(), None)
        until(scene.url, lambda told: told.cluster.states["sleeping"] == 4)
        *_, newest = json.loads(scene.types("status", "--json").out)["runs"]
        name = newest["run"]
        shown = scene.types("inspect", name)
        inspected = scene.types("inspect", name, name, "--json")
        run.cancel()
    assert (shown.code, shown.err) == (0, "")
    assert f"run {name}: 2 fibers go on, 1 of them saved" in shown.out
    assert "      order = Order(number=7)" in shown.out.splitlines()
    assert "nobody but its worker has seen it" in shown.out
    (fiber,) = json.loads(inspected.out)["runs"][0]["fibers"]
    assert (fiber["fiber"], fiber["holds"]) == (name, ["lock 'approvals'"])
    assert scene.types("inspect", name).code == 64
