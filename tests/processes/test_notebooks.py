"""Programs in the cells of a notebook, run by a real kernel."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.kernel import Cell, Kernel

pytestmark = pytest.mark.slow

PREPARE = """
import logging
from distio import Cluster, io
cluster = Cluster.local(workers=2)
cluster.wait_for(workers=2)
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """One kernel for all cells, with a cluster that is open when it ends."""
    # sockets have short paths
    with tempfile.TemporaryDirectory(prefix="nb", dir="/tmp") as directory:
        kernel = Kernel(Path(directory))
        assert kernel.run(PREPARE).error == ""
        yield kernel
        assert kernel.stop() == []


def text_of(cell: Cell) -> str:
    """The text of a cell's value, if the cell had no error."""
    assert cell.error == ""
    return cell.value["text/plain"]


def test_cell_runs_a_program_though_its_loop_runs_and_awaits_it(kernel: Kernel) -> None:
    kernel.run("main = io.zip_par(io.pure(1), io.pure(2))")
    for run in ("main.run(None)", "main.run(None, on=cluster)"):
        assert text_of(kernel.run(run)) == "Ok(success=(1, 2))"
    for run in ("await main.run_async(None)", "await main.run_async(None, on=cluster)"):
        assert text_of(kernel.run(run)) == "Ok(success=(1, 2))"


def test_what_fibers_print_and_log_lands_in_the_cell_that_runs_them(kernel: Kernel) -> None:
    """Also if a thread does it that an earlier cell has started."""
    for each in ("one", "two"):
        prints = f"io.defer(print, '{each}', flush=True)"
        shown = kernel.run(f"io.zip_par([{prints}] * 2).run(None, on=cluster)").streams
        assert shown.split() == [each] * 2
        assert kernel.run(f"await {prints}.run_async(None)").streams == f"{each}\n"
        logs = f"io.defer(logging.warning, '{each}')"
        assert each in kernel.run(f"cluster.submit({logs}, None).result()").streams


def test_run_that_outlives_its_cell_logs_into_the_cell_that_runs_then(kernel: Kernel) -> None:
    kernel.run(
        "from pathlib import Path\n"
        "begun = Path('begun').absolute()\n"
        "logs = io.defer(logging.warning, 'late')\n"
        "program = io.defer(begun.touch).then(io.sleep(300)).on_cancel(logs)\n"
        "handle = cluster.submit(program, None)\n"
        "while not begun.exists(): await io.sleep(0.01).run_async(None)"
    )
    assert "late" in kernel.run("handle.cancel(); handle.result()").streams


def test_cell_that_was_edited_counts_from_then_on(kernel: Kernel) -> None:
    kernel.run("def ask(): return Reply().text() + suffix()")
    for n in (1, 2):
        kernel.run(f"class Reply:\n    def text(self): return 'reply {n}'")
        kernel.run(f"def suffix(): return ', suffix {n}'")
        answer = text_of(kernel.run("cluster.submit(io.defer(ask), None).result()"))
        assert answer == f"Ok(success='reply {n}, suffix {n}')"
    kernel.run("made = cluster.submit(io.defer(lambda: Reply()), None).result().success")
    assert text_of(kernel.run("type(made) is Reply")) == "True"


def test_progress_is_one_output_of_its_cell_which_is_changed(kernel: Kernel) -> None:
    naps = "io.traverse_par(range(8), lambda n: io.sleep(0.2), at_most=2, progress='naps')"
    cell = kernel.run(f"{naps}.run(None, on=cluster, progress='run').is_ok()")
    assert text_of(cell) == "True"
    assert len(cell.outputs) == 2
    by_label = {shown[-1]["text/plain"].partition(":")[0]: shown for shown in cell.outputs.values()}
    assert sorted(by_label) == ["naps", "run"]
    assert "8 of 8 (100 %)" in by_label["naps"][-1]["text/plain"]
    assert "9 of 9 (100 %)" in by_label["run"][-1]["text/plain"]
    assert "<progress" in by_label["run"][0]["text/html"]
    assert cell.streams == ""


@pytest.mark.parametrize(
    "run", ["{}.run(None, on=cluster)", "await {}.run_async(None, on=cluster)"]
)
def test_interrupt_cancels_the_run_and_leaves_kernel_and_cluster_usable(
    kernel: Kernel, run: str
) -> None:
    program = (
        "io.zip_par([io.defer(print, 'begun', flush=True).then(io.sleep(300))])"
        ".finally_(lambda _: io.defer(print, 'released', flush=True))"
    )
    cell = kernel.run(run.format(program), when="begun", then=kernel.interrupt)
    assert cell.error in ("KeyboardInterrupt", "CancelledError")
    assert "released" in cell.streams
    assert text_of(kernel.run("io.pure(1).parallel().run(None, on=cluster).is_ok()")) == "True"


def test_interrupt_of_a_wait_leaves_the_run(kernel: Kernel) -> None:
    slow = "slow = cluster.submit(io.sleep(300), None)\nprint('begun')\nslow.result()"
    assert kernel.run(slow, when="begun", then=kernel.interrupt).error == "KeyboardInterrupt"
    assert text_of(kernel.run("slow.done()")) == "False"
    assert text_of(kernel.run("slow.cancel(); slow.result().is_panic()")) == "True"


def test_cluster_and_runs_are_shown_as_tables(kernel: Kernel) -> None:
    assert "2 workers" in kernel.run("cluster").value["text/html"]
    assert "over" in kernel.run("slow = cluster.submit(io.pure(1), None); slow").value["text/html"]
