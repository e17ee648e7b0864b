"""Timers: the coordinator wakes fibers that sleep, never early."""
