"""Test kit: a whole cluster in one thread, under a seed."""

from distio.testing.faults import Break, Crash, Cut, Fault, Pause
from distio.testing.history import History
from distio.testing.simulation import Simulation, simulate

__all__ = ["Break", "Crash", "Cut", "Fault", "History", "Pause", "Simulation", "simulate"]
