"""Oracles: what a simulation checks of primitives and locks from outside of the machines.

- `calls` records what fibers call, and what they are told.
- `books` holds what must be true at once: nothing is taken twice, a lock has its holders.
- `models` says what primitives and locks are, if one call comes after the other.
- `orders` looks for an order of calls that explains a whole history.
"""
