"""One fiber, purely: what operations are, how a fiber steps, how it becomes bytes.

Nothing below this package knows of threads, sockets, clocks or randomness.
"""
