"""Calls that leave the pool: of callbacks, blocking functions, coroutines."""
