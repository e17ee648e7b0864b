"""Requests of fibers to their runtime, and messages between processes."""
