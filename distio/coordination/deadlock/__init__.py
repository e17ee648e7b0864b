"""Deadlocks: the coordinator suspects a run, asks its members, and names who waits for whom."""
