"""The options of a coordinator's process, and what its machine has to know of them."""

from __future__ import annotations

import pytest

from distio.runtime.coordinator_options import CoordinatorOptions

IPC = "ipc:///tmp/coordinator"
TCP = "tcp://127.0.0.1:0"


@pytest.mark.parametrize(
    ("url", "workers_are_here", "has_journal", "waits"),
    [
        (IPC, True, False, False),
        (IPC, True, True, True),
        (IPC, False, False, True),
        (TCP, True, False, True),
    ],
)
def test_members_may_be_absent_unless_a_break_means_that_their_process_has_ended(
    url: str, workers_are_here: bool, has_journal: bool, waits: bool
) -> None:
    options = CoordinatorOptions(absence=10.0, patience=30.0, workers_are_here=workers_are_here)
    settings = options.settings(url, has_journal=has_journal)
    assert (settings.absence, settings.lease) == ((10.0, 10.0) if waits else (0.0, 0.0))


def test_members_wait_for_another_coordinator_only_if_there_is_a_journal() -> None:
    options = CoordinatorOptions(outage=60.0)
    outages = [
        options.settings(TCP, has_journal=has_journal).outage for has_journal in (False, True)
    ]
    assert outages == [0.0, 60.0]
