"""Test kit: a whole cluster in one thread, under a seed.

`simulate` runs a program once, `explore` under many seeds. With pytest, the fixture
`cluster_simulation` is `explore` with as many seeds as the test's marker says.
"""

from distio.testing.exploration import CheckFailed, Exploration, explore
from distio.testing.faults import Break, Crash, Cut, Fail, Fault, Interrupt, Leave, Pause, Shutdown
from distio.testing.history import History
from distio.testing.restless import RESTLESS
from distio.testing.simulation import Simulation, simulate
from distio.testing.world import Parts

__all__ = [
    "RESTLESS",
    "Break",
    "CheckFailed",
    "Crash",
    "Cut",
    "Exploration",
    "Fail",
    "Fault",
    "History",
    "Interrupt",
    "Leave",
    "Parts",
    "Pause",
    "Shutdown",
    "Simulation",
    "explore",
    "simulate",
]
