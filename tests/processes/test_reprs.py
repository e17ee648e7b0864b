"""The views of clusters, their members and runs in a shell and a notebook."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from distio import Cluster, io
from distio._display.html import table
from distio.runtime.roster import cluster_as_html
from tests.conftest import PATIENCE, Run, shared_cluster


def test_table_shows_text_as_it_is_and_no_more_than_fits() -> None:
    shown = table("<b>", [("a & b", "x" * 1000)], ["<i>", "other"])
    assert "<i>" not in shown
    assert "&lt;b&gt;" in shown
    assert "a &amp; b" in shown
    assert len(shown) < 600


def test_cluster_shows_its_members_and_who_waits() -> None:
    cluster = shared_cluster()
    cluster.wait_for(workers=2)
    assert repr(cluster) == f"<Cluster at {cluster.url}>"
    shown = cluster._repr_html_()
    assert f"cluster at {cluster.url}: 2 workers, 4 threads, 0 fibers waiting" in shown
    assert all(member.name in shown for member in cluster.members())


def test_run_shows_whether_it_is_over_and_how() -> None:
    handle = shared_cluster().submit(io.sleep(PATIENCE), None)
    assert repr(handle).endswith(", not over>")
    assert "not over" in handle._repr_html_()
    handle.cancel()
    handle.result(PATIENCE)
    assert repr(handle).startswith("<run ")
    assert ", over" in repr(handle)
    member = next(each for each in shared_cluster().members() if each.kind == "client")
    assert f"<b>client {member.name}</b>" in member._repr_html_()


def test_fiber_shows_its_name_and_whether_it_is_over(run_in_process: Run) -> None:
    shown: list[Any] = []

    def look(fibers: list[Any]) -> Any:
        (fiber,) = fibers
        shown.append(fiber._repr_html_())
        return io.wait(fiber).then(io.defer(lambda: shown.append(fiber._repr_html_())))

    assert run_in_process(io.parallel(io.sleep(0.001)).flat_map(look)).is_ok()
    assert ["not known to be over" in shown[0], "over: Ok" in shown[1]] == [True, True]


@pytest.mark.slow
def test_closed_cluster_and_its_runs_are_shown_by_any_thread_without_an_answer() -> None:
    cluster = Cluster.local(workers=1)
    handle = cluster.submit(io.pure(1), None, name="<nightly>")
    handle.result()
    assert "answered within 0 s" in cluster_as_html(cluster._host, 0.0)
    cluster.close()
    seen: list[str] = []

    def look() -> None:
        seen.extend([repr(cluster), repr(handle), cluster._repr_html_(), handle._repr_html_()])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(PATIENCE)
    assert seen[:2] == [f"<Cluster at {cluster.url}, closed>", "<run '<nightly>', over>"]
    assert "closed" in seen[2]
    assert "&lt;nightly&gt;" in seen[3]
