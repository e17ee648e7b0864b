"""The leftovers of a run on threads."""

from __future__ import annotations

import gc

from distio import Ok, io
from distio.coordination.coordinator import Coordinator
from distio.testing.simulation import refcounts_only


def test_run_that_is_over_leaves_no_coordinator_as_garbage() -> None:
    def coordinators() -> int:
        return sum(type(each) is Coordinator for each in gc.get_objects())

    assert io.pure(1).run(None) == Ok(1)
    with refcounts_only():
        before = coordinators()
        assert io.sleep(0.001).then(io.pure(1)).run(None) == Ok(1)
        assert coordinators() == before
