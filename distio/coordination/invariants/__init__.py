"""The invariants of the machines; tests check them after every event."""
