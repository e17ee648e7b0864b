"""Test kit: a whole cluster in one thread, under a seed.

`simulate` runs a program once, `explore` under many seeds, `explore_all` under all schedules that
are nearly the tamest one. With pytest, the fixture `cluster_simulation` is `explore` with as many
seeds as the test's marker says.
"""

from distio._public import publish
from distio.testing.cases import CheckFailed
from distio.testing.exhaustion import Coverage, explore_all
from distio.testing.exploration import Exploration, explore
from distio.testing.faults import (
    Crash,
    Disconnect,
    Fail,
    Fault,
    FullDisk,
    Interrupt,
    Leave,
    Partition,
    Pause,
    Restart,
    Shutdown,
    SlowDisk,
    Stop,
)
from distio.testing.history import History
from distio.testing.move_on_wake import MOVE_ON_WAKE
from distio.testing.plan import Components
from distio.testing.simulation import Simulation, simulate

__all__ = [
    "MOVE_ON_WAKE",
    "CheckFailed",
    "Components",
    "Coverage",
    "Crash",
    "Disconnect",
    "Exploration",
    "Fail",
    "Fault",
    "FullDisk",
    "History",
    "Interrupt",
    "Leave",
    "Partition",
    "Pause",
    "Restart",
    "Shutdown",
    "SlowDisk",
    "Stop",
    "Simulation",
    "explore",
    "explore_all",
    "simulate",
]


publish(__name__, globals())
