"""References to queues, variables and fibers are counted, so that what is unreachable is freed."""
