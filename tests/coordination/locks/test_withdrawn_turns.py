"""A fiber withdraws from a lock and asks anew while its turn is on the way."""

from __future__ import annotations

from typing import Any

import pytest

from distio import IO, io, resource
from distio.testing import explore

DOOR = resource.lock("door")


def waits(times: int, seconds: float) -> IO[Any, Any, Any]:
    """A fiber on a worker that tries the door so often, for so long each time."""
    use = DOOR.with_(io.sleep(0.0005)).timeout(seconds, io.pure("late"))
    return io.zip_par([io.sequence([use] * times)])


@pytest.mark.slow
def test_fiber_that_asks_anew_is_served_once_whatever_turn_is_on_its_way() -> None:
    main = io.zip_par([waits(4, 0.0015), waits(4, 0.0021), waits(4, 0.003)])
    assert explore(main, seeds=range(30), members=3, threads=1).seeds == 30
