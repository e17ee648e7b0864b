"""The views of observers: trees, graphs, tables."""

from __future__ import annotations

from typing import Any

from distio.cli.views import dot_of, dump_as_data, lines_of_dump
from distio.coordination.overview.text import LATE, lines_of_overview
from distio.protocol.ids import fiber_id
from distio.protocol.messages.overview import (
    ClusterTold,
    FiberTold,
    MemberTold,
    OverviewTold,
    RunTold,
)
from distio.runtime.observing import Dump

RUN = fiber_id(1, 0)
NO_CLUSTER = ClusterTold("0.1.0", 1, 0, 2, 0, {}, 0, {})


def fiber(number: int, **fields: Any) -> FiberTold:
    rest: dict[str, Any] = {
        "name": "", "owner": 0, "state": "sleeps", "function": "", "where": "", "fibers": [],
        "more": 0, "lock": None, "holds": [],
    }  # fmt: skip
    return FiberTold(fiber=fiber_id(1, number), run=RUN, **(rest | fields))


def dump_of(*fibers: FiberTold, silent: tuple[str, ...] = ()) -> Dump:
    dump = Dump(silent=[*silent])
    dump.add("worker 2", fibers)
    return dump


def test_tree_has_each_fiber_under_its_owner_or_under_the_first_that_waits_for_it() -> None:
    waits = {"state": "waits for fibers", "fibers": [fiber_id(1, 2)]}
    told = dump_of(fiber(0, **waits), fiber(1, owner=RUN), fiber(2), fiber(3, **waits))
    assert [*lines_of_dump(told)] == [
        "run 1.0: 4 fibers",
        "  1.0: waits for fibers 1.2 at worker 2",
        "    1.1: sleeps at worker 2",
        "    1.2: sleeps at worker 2",
        "  1.3: waits for fibers 1.2 at worker 2",
    ]


def test_tree_has_fibers_that_wait_for_each_other_once() -> None:
    told = dump_of(fiber(1, fibers=[fiber_id(1, 2)]), fiber(2, fibers=[fiber_id(1, 1)]))
    assert len([*lines_of_dump(told)]) == 3


def test_tree_of_a_deep_chain_does_not_recurse() -> None:
    told = dump_of(*[fiber(n, owner=fiber_id(1, n - 1) if n else 0) for n in range(5_000)])
    assert len([*lines_of_dump(told)]) == 5_001


def test_tree_names_members_that_did_not_answer() -> None:
    assert [*lines_of_dump(dump_of(silent=("worker 3",)))] == ["worker 3 didn't answer"]


def test_what_others_have_chosen_commands_no_terminal() -> None:
    told = dump_of(fiber(1, name="a\x1b[2J", where="f\nx:1", function="f"))
    for text in ("".join(lines_of_dump(told)), "".join(dot_of(told))):
        assert text.isprintable()


def test_graph_has_what_a_fiber_waits_for_and_what_it_holds() -> None:
    graph = [*dot_of(dump_of(fiber(1, lock="press"), fiber(2, holds=["press"])))]
    assert '  "1.1" -> "lock press";' in graph
    assert '  "lock press" -> "1.2" [style=dashed];' in graph


def test_fiber_that_has_moved_meanwhile_is_told_where_it_is() -> None:
    dump = dump_of(fiber(1, state="is ready"))
    dump.add("worker 3", [fiber(1)])
    dump.add("worker 4", [fiber(1, state="is ready")])
    (told,) = dump_as_data(dump)["fibers"]
    assert (told["member"], told["state"]) == ("worker 3", "sleeps")


def test_overview_is_sorted_by_a_column_the_largest_first() -> None:
    def run(id: int, fibers: int) -> RunTold:
        return RunTold(fiber_id(id, 0), "", "", 1.0, fibers, 0, 0, 0, "")

    told = OverviewTold(1, NO_CLUSTER, [], [run(1, 5), run(2, 9)], [])
    lines = [*lines_of_overview(told, "fibers")]
    first = next(line for line in lines if line.startswith(("1.0", "2.0")))
    assert first.startswith("2.0")


def test_status_says_what_has_gone_wrong_and_nothing_of_messages_that_came_too_late() -> None:
    def last_line(**counts: int) -> str:
        counts = {what.replace("_", " "): count for what, count in counts.items()}
        cluster = ClusterTold("0.1.0", 1, 0, 0, 0, {}, 0, counts)
        return [*lines_of_overview(OverviewTold(1, cluster, [], [], []))][-1]

    healthy = {LATE.replace(" ", "_"): 345, "members_lost": 0}
    assert last_line(**healthy) == "so far: nothing lost, nothing refused"
    worse = healthy | {"members_lost": 1, "fibers_restored": 7}
    assert last_line(**worse) == "so far: 7 fibers restored, 1 member lost"


def test_status_shows_no_threads_of_members_that_host_no_fibers() -> None:
    def threads(kind: str) -> str:
        member = MemberTold(1, "m", kind, "alpha", 7, 4, "0.1.0", "3.11", 1.0, 0, 0, 0, "")
        told = OverviewTold(1, NO_CLUSTER, [member], [], [])
        return next(line.split()[5] for line in lines_of_overview(told) if line.startswith("1 "))

    assert [*map(threads, ["worker", "supervisor", "observer"])] == ["4", "-", "-"]
